import assert from "node:assert/strict";
import { freePort } from "../harness/ports.ts";
import { RunningProcess } from "../harness/process.ts";
import { type CommandFolder, commandFolder, programArgs } from "./command_line.ts";

const STOP_LIMIT_MS = 10_000;

/** Generates a configuration that listens on `port`, without a reverse proxy, and logs to the console. */
async function generate(folder: CommandFolder, { port, serverName = "localhost" }: {
  port: number;
  serverName?: string;
}): Promise<void> {
  const { code, stderr } = await folder.run(["generate-config", "--server-name", serverName]);
  assert.equal(code, 0, stderr);
  await folder.write(
    "test.yaml",
    `bcrypt_rounds: 4
listeners: [{ port: ${port}, bind_addresses: [127.0.0.1], resources: [{ names: [client, federation, metrics] }] }]
enable_metrics: true
`,
  );
}

function serve(folder: CommandFolder, env: Record<string, string> = {}): RunningProcess {
  const args = programArgs(["serve", "-c", "homeserver.yaml", "-c", "test.yaml"]);
  return new RunningProcess(Deno.execPath(), { args, cwd: folder.path, env: { NO_COLOR: "1", ...env } });
}

Deno.test("serve tells the service manager when it is ready, reloads and stops", async () => {
  await using folder = await commandFolder();
  await generate(folder, { port: freePort() });
  const socket = Deno.listenDatagram({ transport: "unixpacket", path: `${folder.path}/notify` });
  const next = async () => new TextDecoder().decode((await socket.receive())[0]).split("\n")[0];
  await using server = serve(folder, { NOTIFY_SOCKET: `${folder.path}/notify` });
  assert.equal(await next(), "READY=1", server.stderr);
  server.signal("SIGHUP");
  assert.equal(await next(), "RELOADING=1");
  assert.equal(await next(), "READY=1");
  server.signal("SIGTERM");
  assert.equal(await next(), "STOPPING=1");
  assert.equal(await server.exited, 0);
  socket.close();
});

/** Returns the log once it holds the pattern. */
async function logOf(folder: CommandFolder, pattern: RegExp): Promise<string> {
  const end = performance.now() + 20_000;
  for (;;) {
    const text = await folder.read("homeserver.log").catch(() => "");
    if (pattern.test(text)) return text;
    assert.ok(performance.now() < end, text);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

Deno.test("serve says where it listens, answers, survives SIGHUP, and ends with 0 on SIGTERM", async () => {
  await using folder = await commandFolder();
  const port = freePort();
  await generate(folder, { port });
  for (const round of ["first", "second"]) {
    await using server = serve(folder);
    await server.waitFor(new RegExp(`serves localhost on .*127\\.0\\.0\\.1:${port}\\b`));
    await server.waitFor(/To register a user: synapse-ts register-user -c homeserver\.yaml -c test\.yaml\n/);
    assert.equal((await folder.read("homeserver.pid")).trim(), String(server.pid));
    server.signal("SIGHUP");
    const versions = await fetch(`http://127.0.0.1:${port}/_matrix/client/versions`);
    assert.equal(versions.status, 200);
    await versions.body?.cancel();
    // Needs more than the permissions that the program has.
    const metrics = await (await fetch(`http://127.0.0.1:${port}/_synapse/metrics`)).text();
    assert.match(metrics, /^process_open_fds [1-9]\d*\n/m);
    const start = performance.now();
    assert.equal(await server.stop({ graceMs: STOP_LIMIT_MS }), 0, `${round}: ${server.stderr}`);
    assert.ok(performance.now() - start < STOP_LIMIT_MS);
    assert.equal(server.stderr, "");
  }
  assert.ok(!(await folder.list()).includes("homeserver.pid"));
  assert.match(await folder.read("homeserver.log"), / - INFO - - - Server stopped\n$/);
});

Deno.test("serve waits for its former self to end", async () => {
  await using folder = await commandFolder();
  const port = freePort();
  await generate(folder, { port });
  await using former = serve(folder);
  await former.waitFor(/serves localhost on/);
  await using next = serve(folder);
  await former.stop();
  await next.waitFor(/serves localhost on/);
  assert.equal(await next.stop(), 0, next.stderr);
});

Deno.test("register-user registers at a running server, once", async () => {
  await using folder = await commandFolder();
  const port = freePort();
  await generate(folder, { port });
  await using server = serve(folder);
  await server.waitFor(/serves localhost on/);
  const args = ["register-user", "-c", "homeserver.yaml", "-c", "test.yaml", "-u", "alice", "-p", "secret", "-a"];
  assert.deepEqual(await folder.run(args), {
    code: 0,
    stdout: "Sending registration request...\nSuccess!\n",
    stderr: "",
  });
  server.signal("SIGHUP");
  assert.match(
    await logOf(folder, /Configuration reloaded/),
    / - synapse\.access\.http - INFO - POST-\d+ - Processed request listener=\d+ ip=127\.0\.0\.1 user=null method=POST path=\/_synapse\/admin\/v1\/register status=200 ms=[\d.]+ db_ms=[\d.]+ db_count=[1-9]\d*\n/,
  );
  const again = await folder.run(args);
  assert.equal(again.code, 1);
  assert.match(again.stdout, /^Sending registration request\.\.\.\nERROR! Received 400 Bad Request\n.+\n$/);
  assert.equal((await folder.run([...args, "--exists-ok"])).code, 0);
});

Deno.test("serve ends with one sentence when it cannot start", async () => {
  await using folder = await commandFolder();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await generate(folder, { port: taken.addr.port });
  const attempt = async (): Promise<string> => {
    const { code, stderr } = await folder.run(["serve", "-c", "homeserver.yaml", "-c", "test.yaml"]);
    assert.equal(code, 1, stderr);
    assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
    return stderr;
  };
  assert.match(await attempt(), new RegExp(`\\b${taken.addr.port}\\b`));
  await folder.write("localhost.signing.key", "not a key\n");
  assert.match(await attempt(), /localhost\.signing\.key/);
});

Deno.test("serve refuses the database of another server name", async () => {
  await using folder = await commandFolder();
  const port = freePort();
  await generate(folder, { port });
  await using server = serve(folder);
  await server.waitFor(/serves localhost on/);
  assert.equal(await server.stop(), 0);
  const settings = await folder.read("test.yaml");
  await folder.write("test.yaml", `${settings}server_name: other.example\n`);
  const { code, stderr } = await folder.run(["serve", "-c", "homeserver.yaml", "-c", "test.yaml"]);
  assert.equal(code, 1);
  assert.match(stderr, /^[^\n]*localhost[^\n]*other\.example[^\n]*\n$|^[^\n]*other\.example[^\n]*localhost[^\n]*\n$/);
});
