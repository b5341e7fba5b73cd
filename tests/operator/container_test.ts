/** The container image without Docker: the file is linted, and the script it starts runs here. */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { type CommandFolder, commandFolder, programArgs } from "../cli/command_line.ts";
import { requireProgram } from "../harness/debian.ts";
import { freePort } from "../harness/ports.ts";
import { type ProcessResult, RunningProcess, runProcess } from "../harness/process.ts";
import { pythonWith } from "../harness/python.ts";

const SCRIPT = await Deno.realPath("packaging/docker/start.sh");
const DOCKERFILE = "packaging/Dockerfile";
const LIMIT_MS = 60_000;
const NAMES = { SYNAPSE_SERVER_NAME: "container.test", SYNAPSE_REPORT_STATS: "no" };

/** Says who it is and what it was asked to do, in place of the program. */
const SAYS_WHO = '#!/bin/sh\necho "$(id -u):$(id -g) $*"\nprintf "%s\\n" "$PPID" >&2\n';

/** A folder in the place of the volume, with a program that the script starts. */
async function volume(program: string): Promise<{ folder: CommandFolder; env: Record<string, string> }> {
  const folder = await commandFolder();
  // The user that the script becomes comes here too.
  await Deno.chmod(folder.path, 0o755);
  const path = await folder.write("program", program);
  await Deno.chmod(path, 0o755);
  const data = `${folder.path}/data`;
  const env = {
    PATH: Deno.env.get("PATH") ?? "/usr/bin:/bin",
    NO_COLOR: "1",
    SYNAPSE_TS: path,
    SYNAPSE_CONFIG_DIR: data,
    SYNAPSE_DATA_DIR: data,
    // This user, who may be root here.
    UID: String(Deno.uid()),
    GID: String(Deno.gid()),
  };
  return { folder, env };
}

/** The program itself, from the sources. */
function realProgram(): string {
  const words = [Deno.execPath(), ...programArgs([])].map((word) => `'${word}'`).join(" ");
  return `#!/bin/sh\nexec ${words} "$@"\n`;
}

async function start(args: readonly string[], env: Record<string, string>): Promise<ProcessResult> {
  return await runProcess("/bin/sh", { args: [SCRIPT, ...args], env, clearEnv: true, timeoutMs: LIMIT_MS });
}

Deno.test("the image's file and its script have nothing that hadolint and shellcheck object to", async () => {
  const hadolint = `${dirname(await pythonWith("hadolint", { folder: "tests/operator" }))}/hadolint`;
  const linted = await runProcess(hadolint, { args: ["--no-color", DOCKERFILE] });
  assert.deepEqual([linted.code, linted.stdout, linted.stderr], [0, "", ""]);
  const shellcheck = await requireProgram("shellcheck", "shellcheck");
  const checked = await runProcess(shellcheck, { args: [SCRIPT] });
  assert.deepEqual([checked.code, checked.stdout], [0, ""]);
});

Deno.test("what the image copies is not kept from it, and is there or made by `make build`", async () => {
  const copied = [...(await Deno.readTextFile(DOCKERFILE)).matchAll(/^COPY (\S+)/gm)].map(([, path]) => path ?? "");
  const admitted = (await Deno.readTextFile(".dockerignore")).trim().split("\n");
  assert.deepEqual(admitted, ["*", ...copied.map((path) => `!${path}`)]);
  for (const path of copied.filter((name) => !name.startsWith("dist/"))) {
    assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o111, 0o111, `${path} cannot be run`);
  }
});

Deno.test("generate writes a configuration by the variables, once, and run serves it where health asks", async () => {
  const { folder, env } = await volume(realProgram());
  await using _folder = folder;
  const port = freePort();
  const all = { ...env, ...NAMES, SYNAPSE_HTTP_PORT: String(port), SYNAPSE_LOG_LEVEL: "DEBUG" };
  await Deno.mkdir(`${folder.path}/data`);
  const early = await start(["run"], all);
  assert.deepEqual([early.code, early.stdout], [1, ""]);
  assert.match(early.stderr, /^There is no \S+\/data\/homeserver\.yaml\. Run the image with "generate" once.*\n$/);

  const generated = await start(["generate"], all);
  assert.equal(generated.code, 0, generated.stderr);
  const config = await folder.read("data/homeserver.yaml");
  assert.match(config, /^server_name: "container\.test"$/m);
  assert.match(config, new RegExp(`^ {2}- port: ${port}$`, "m"));
  assert.match(config, /^report_stats: false$/m);
  const log = await folder.read("data/container.test.log.config");
  assert.match(log, /^root:\n {4}level: DEBUG\n[^]*handlers: \[console\]/m);
  assert.equal(await folder.mode("data/homeserver.yaml"), 0o640);
  await folder.write("data/homeserver.yaml", `${config}# mine\n`);
  const again = await start(["generate"], { ...all, SYNAPSE_HTTP_PORT: "1" });
  assert.equal(again.code, 0, again.stderr);
  assert.equal(await folder.read("data/homeserver.yaml"), `${config}# mine\n`);

  assert.notEqual((await start(["health"], all)).code, 0);
  {
    // As in a container, where nothing stands between the script's process and the signal.
    await using server = new RunningProcess("/bin/sh", { args: [SCRIPT], env: all, clearEnv: true });
    await server.waitFor(/serves container\.test on/);
    const health = await start(["health"], all);
    assert.equal(health.code, 0, health.stderr);
    const user = ["-u", "alice", "-p", "secret", "-a", "-c", `${folder.path}/data/homeserver.yaml`];
    const registered = await start(["register-user", ...user, `http://127.0.0.1:${port}`], all);
    assert.equal(registered.code, 0, registered.stderr);
    assert.equal(await server.stop(), 0, server.stderr);
    assert.match(server.stderr, /Server stopped/);
  }
  assert.notEqual((await start(["health"], all)).code, 0);
});

Deno.test("metrics and another path of the configuration are had by their variables", async () => {
  const { folder, env } = await volume(realProgram());
  await using _folder = folder;
  await Deno.mkdir(`${folder.path}/data`);
  const path = `${folder.path}/data/other.yaml`;
  const all = { ...env, ...NAMES, SYNAPSE_SERVER_NAME: "container.test:8448", SYNAPSE_CONFIG_PATH: path };
  const { code, stderr } = await start(["generate"], { ...all, SYNAPSE_ENABLE_METRICS: "yes" });
  assert.equal(code, 0, stderr);
  const config = await folder.read("data/other.yaml");
  // The port of the name would make it another one, which the image does not publish.
  assert.match(config, /^ {2}- port: 8008\n[^]*^ {2}- port: 19090\n {4}type: metrics\n[^]*^enable_metrics: true$/m);
  assert.match(await Deno.readTextFile(DOCKERFILE), /^EXPOSE 8008 8448 19090$/m);
});

Deno.test("the script refuses what is missing or wrong in one sentence, and makes nothing", async () => {
  const { folder, env } = await volume(SAYS_WHO);
  await using _folder = folder;
  const refused = async (over: Record<string, string>): Promise<string> => {
    const { code, stdout, stderr } = await start(["generate"], { ...env, ...over });
    assert.deepEqual([code, stdout], [1, ""]);
    return stderr;
  };
  assert.match(await refused({}), /^SYNAPSE_SERVER_NAME is not set.*\n$/);
  assert.match(await refused({ SYNAPSE_SERVER_NAME: "a.test" }), /^SYNAPSE_REPORT_STATS must be yes or no\n$/);
  assert.match(await refused({ ...NAMES, SYNAPSE_REPORT_STATS: "maybe" }), /^SYNAPSE_REPORT_STATS/);
  assert.match(await refused({ ...NAMES, SYNAPSE_LOG_LEVEL: "loud/" }), /^SYNAPSE_LOG_LEVEL must be /);
  assert.match(await refused({ ...NAMES, SYNAPSE_HTTP_PORT: "80 80" }), /^SYNAPSE_HTTP_PORT must be a port number\n$/);
  assert.deepEqual(await folder.list(), ["program"]);
});

Deno.test({
  name: "as root the script takes on another user, whose the folder becomes, and the program takes the script's place",
  ignore: Deno.uid() !== 0,
  async fn() {
    const { folder, env: { UID: _uid, GID: _gid, ...env } } = await volume(SAYS_WHO);
    await using _folder = folder;
    const standard = await start(["doctor", "--json"], env);
    assert.equal(standard.stdout, "991:991 doctor --json\n", standard.stderr);
    const { uid, gid } = await Deno.stat(`${folder.path}/data`);
    assert.deepEqual([uid, gid], [991, 991]);
    const given = await start(["hash-password"], { ...env, UID: "4242", GID: "4343" });
    assert.equal(given.stdout, "4242:4343 hash-password\n", given.stderr);
    assert.equal((await Deno.stat(`${folder.path}/data`)).uid, 4242);
    // Started by this process itself: no shell is left in between that would swallow the signals.
    assert.equal(Number(given.stderr), Deno.pid);
  },
});

Deno.test({
  name: "as root, what generate writes belongs to the user",
  ignore: Deno.uid() !== 0,
  async fn() {
    const writes = '#!/bin/sh\nset -eu\ncd "$SYNAPSE_CONFIG_DIR"\necho "  - port: 1" > homeserver.yaml\n' +
      'printf "root:\\n    level: INFO\\n    handlers: [file]\\n" > "$SYNAPSE_SERVER_NAME.log.config"\n';
    const { folder, env } = await volume(writes);
    await using _folder = folder;
    const { code, stderr } = await start(["generate"], { ...env, ...NAMES, UID: "4242", GID: "4343" });
    assert.equal(code, 0, stderr);
    for (const name of ["homeserver.yaml", "container.test.log.config"]) {
      const { uid, gid } = await Deno.stat(`${folder.path}/data/${name}`);
      assert.deepEqual([uid, gid], [4242, 4343], name);
    }
    assert.equal(await folder.read("data/homeserver.yaml"), "  - port: 8008\n");
    assert.match(await folder.read("data/container.test.log.config"), /handlers: \[console\]/);
  },
});
