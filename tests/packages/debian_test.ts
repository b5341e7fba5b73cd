/**
 * The Debian package in a clean root: installed, started as its unit would, upgraded, removed and purged.
 *
 * Needs root, dpkg-deb, debootstrap and dist/synapse-ts: `make build test-deb`. The root is made once and kept in the
 * cache. There is no systemd in it, so the test reads the unit and runs its `ExecStart` as its `User`.
 */
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { freePort, waitForPort } from "../harness/ports.ts";
import { type ProcessResult, RunningProcess, runProcess } from "../harness/process.ts";

const SUITE = "bookworm";
const LIMIT_MS = 300_000;
const SERVER_NAME = "packaged.example.org";

/** Runs a command and fails with its output unless it ends with 0. */
async function must(
  [command, ...args]: readonly [string, ...string[]],
  env: Record<string, string> = {},
): Promise<string> {
  const result = await runProcess(command, { args, env, timeoutMs: LIMIT_MS });
  assert.equal(result.code, 0, `${command} ${args.join(" ")}:\n${result.stdout}${result.stderr}`);
  return result.stdout;
}

/** Returns an archive of a minimal Debian, made when it is not in the cache. */
async function baseSystem(): Promise<string> {
  const cache = `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME") ?? tmpdir()}/.cache`}/synapse-ts-debian`;
  const archive = `${cache}/${SUITE}.tar`;
  if (await Deno.stat(archive).then(() => true, () => false)) return archive;
  await Deno.mkdir(cache, { recursive: true });
  const folder = await Deno.makeTempDir({ dir: cache });
  await must(["debootstrap", "--variant=minbase", "--include=adduser", SUITE, folder]);
  await must(["tar", "-C", folder, "-cf", `${archive}.new`, "."]);
  await Deno.rename(`${archive}.new`, archive);
  await Deno.remove(folder, { recursive: true });
  return archive;
}

/** A Debian system of its own. */
class Root implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(): Promise<Root> {
    const archive = await baseSystem();
    const folder = await Deno.makeTempDir({ prefix: "synapse-ts-deb-" });
    await must(["tar", "-C", folder, "-xf", archive]);
    // The archive has the mode of the temporary folder it was made in.
    await Deno.chmod(folder, 0o755);
    await Deno.writeTextFile(`${folder}/etc/hosts`, "127.0.0.1 localhost\n");
    await must(["mount", "-t", "proc", "proc", `${folder}/proc`]);
    return new Root(folder);
  }

  async run(args: readonly string[]): Promise<ProcessResult> {
    const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" };
    return await runProcess("chroot", { args: [this.folder, ...args], env, clearEnv: true, timeoutMs: LIMIT_MS });
  }

  async must(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(args);
    assert.equal(code, 0, `${args.join(" ")}:\n${stdout}${stderr}`);
    return stdout;
  }

  async preseed(question: string, [type, value]: readonly [string, string]): Promise<void> {
    await this.write("/tmp/preseed", `synapse-ts ${question} ${type} ${value}\n`);
    await this.must("debconf-set-selections", "/tmp/preseed");
  }

  async install(file: string): Promise<void> {
    await Deno.copyFile(file, `${this.folder}/tmp/package.deb`);
    await this.must("dpkg", "--force-confold", "-i", "/tmp/package.deb");
  }

  async write(path: string, text: string): Promise<void> {
    await Deno.writeTextFile(`${this.folder}${path}`, text);
  }

  async read(path: string): Promise<string> {
    return await Deno.readTextFile(`${this.folder}${path}`);
  }

  async has(path: string): Promise<boolean> {
    return await Deno.lstat(`${this.folder}${path}`).then(() => true, () => false);
  }

  /** Starts the server as the unit says: its command, its user, its folders. */
  async serve(port: number): Promise<RunningProcess> {
    const unit = await this.read("/lib/systemd/system/synapse-ts.service");
    const command = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(" ") ?? [];
    const user = /^User=(.*)$/m.exec(unit)?.[1] ?? "";
    await this.must("install", "-d", "-o", user, "-g", user, "/run/synapse-ts");
    const server = new RunningProcess("chroot", {
      args: [`--userspec=${user}:${user}`, this.folder, ...command],
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
      clearEnv: true,
    });
    await Promise.race([
      waitForPort(port),
      server.exited.then((code) => assert.fail(`the server ended with ${code}: ${server.stderr}`)),
    ]);
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await must(["umount", `${this.folder}/proc`]);
    await Deno.remove(this.folder, { recursive: true });
  }
}

async function build(revision: string): Promise<string> {
  return (await must(["packaging/deb.sh"], { DEB_REVISION: revision })).trim();
}

async function register(root: Root, name: string): Promise<void> {
  const files = ["-c", "/etc/synapse-ts/homeserver.yaml", "-c", "/etc/synapse-ts/conf.d"];
  const output = await root.must("synapse-ts", "register_new_matrix_user", ...files, "-u", name, "-p", "pw", "-a");
  assert.match(output, /Success!/);
}

async function logsIn(port: number, user: string): Promise<boolean> {
  const response = await fetch(`http://127.0.0.1:${port}/_matrix/client/v3/login`, {
    method: "POST",
    body: JSON.stringify({ type: "m.login.password", identifier: { type: "m.id.user", user }, password: "pw" }),
  });
  const { user_id: userId } = await response.json();
  return response.status === 200 && userId === `@${user}:${SERVER_NAME}`;
}

Deno.test("the Debian package installs, serves, keeps its data over an upgrade, and goes", async () => {
  const [first, second] = [await build("-1"), await build("-2")];
  await using root = await Root.make();
  await root.preseed("synapse-ts/server-name", ["string", SERVER_NAME]);
  await root.install(first);

  const port = freePort();
  const listener = { port, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client", "federation"] }] };
  await root.write("/etc/synapse-ts/conf.d/listener.yaml", JSON.stringify({ listeners: [listener] }));
  for (const secret of ["homeserver.signing.key", "registration_shared_secret", "macaroon_secret_key"]) {
    const { mode } = await Deno.stat(`${root.folder}/etc/synapse-ts/${secret}`);
    assert.equal((mode ?? 0) & 0o777, 0o640, secret);
  }
  const key = await root.read("/etc/synapse-ts/homeserver.signing.key");
  {
    await using server = await root.serve(port);
    await register(root, "alice");
    assert.ok(await logsIn(port, "alice"));
    assert.equal(await server.stop(), 0, server.stderr);
  }

  await root.write("/etc/synapse-ts/homeserver.yaml", `${await root.read("/etc/synapse-ts/homeserver.yaml")}# mine\n`);
  await root.install(second);
  assert.match(await root.must("dpkg-query", "-W", "synapse-ts"), /-2$/m);
  assert.match(await root.read("/etc/synapse-ts/homeserver.yaml"), /# mine/);
  assert.equal(await root.read("/etc/synapse-ts/homeserver.signing.key"), key);
  {
    await using server = await root.serve(port);
    assert.ok(await logsIn(port, "alice"));
    assert.equal(await server.stop(), 0, server.stderr);
  }
  assert.match(await root.read("/var/log/synapse-ts/homeserver.log"), /Server stopped/);

  await root.must("dpkg", "--remove", "synapse-ts");
  assert.ok(!await root.has("/usr/bin/synapse-ts"));
  assert.ok(await root.has("/var/lib/synapse-ts/homeserver.db"));
  await root.preseed("synapse-ts/purge-data", ["boolean", "true"]);
  await root.must("dpkg", "--purge", "synapse-ts");
  for (const path of ["/var/lib/synapse-ts", "/etc/synapse-ts", "/var/log/synapse-ts"]) {
    assert.ok(!await root.has(path), path);
  }
  assert.notEqual((await root.run(["getent", "passwd", "synapse-ts"])).code, 0);
});

Deno.test("the Debian package asks for a server name and does not start without one", async () => {
  const file = await build("-1");
  await using root = await Root.make();
  await root.install(file);
  assert.ok(!await root.has("/etc/synapse-ts/conf.d/server_name.yaml"));
  const { code, stderr } = await root.run([
    "synapse-ts",
    ...["serve", "-c", "/etc/synapse-ts/homeserver.yaml", "-c", "/etc/synapse-ts/conf.d"],
  ]);
  assert.equal(code, 1);
  assert.match(stderr, /server_name/);
  await root.must("dpkg", "--purge", "synapse-ts");
  assert.ok(await root.has("/var/lib/synapse-ts"), "data went without being asked");
});
