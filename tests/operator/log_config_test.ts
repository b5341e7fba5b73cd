/** Log configurations as Synapse generates and documents them, each on a running server. */
import assert from "node:assert/strict";
import { type CommandFolder, commandFolder, programArgs } from "../cli/command_line.ts";
import { freePort } from "../harness/ports.ts";
import { RunningProcess } from "../harness/process.ts";

/** What a server with a log configuration wrote while somebody registered and asked who they are. */
interface Run {
  readonly stdout: string;
  readonly stderr: string;
}

async function runWith(folder: CommandFolder, logConfig: string): Promise<Run> {
  const port = freePort();
  await folder.write("test.log.config", logConfig);
  await folder.write(
    "test.yaml",
    `bcrypt_rounds: 4
log_config: ${folder.path}/test.log.config
enable_registration: true
enable_registration_without_verification: true
listeners: [{ port: ${port}, bind_addresses: [127.0.0.1], tag: main, resources: [{ names: [client] }] }]
`,
  );
  const args = programArgs(["serve", "-c", "homeserver.yaml", "-c", "test.yaml"]);
  const socket = Deno.listenDatagram({ transport: "unixpacket", path: `${folder.path}/notify` });
  const env = { NO_COLOR: "1", NOTIFY_SOCKET: `${folder.path}/notify` };
  await using server = new RunningProcess(Deno.execPath(), { args, cwd: folder.path, env });
  try {
    const told = await Promise.race([socket.receive(), server.exited]);
    assert(Array.isArray(told), server.stderr);
  } finally {
    socket.close();
    await Deno.remove(`${folder.path}/notify`);
  }
  const base = `http://127.0.0.1:${port}/_matrix/client/v3`;
  const auth = { type: "m.login.dummy" };
  const body = JSON.stringify({ auth, username: `u${port}`, password: "a long password" });
  const registered = await fetch(`${base}/register`, { method: "POST", body });
  const { access_token: token, user_id: userId } = await registered.json();
  assert.equal(registered.status, 200);
  const asked = await fetch(`${base}/account/whoami`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal((await asked.json()).user_id, userId);
  assert.equal(await server.stop(), 0, server.stderr);
  const { stdout, stderr } = server;
  for (const text of [stdout, stderr, await folder.read("hs.log").catch(() => "")]) {
    assert(!text.includes(token) && !text.includes("a long password"), "A secret is in the log");
  }
  return { stdout, stderr };
}

async function prepare(): Promise<CommandFolder> {
  const folder = await commandFolder();
  const { code, stderr } = await folder.run(["generate-config", "--server-name", "example.org"]);
  assert.equal(code, 0, stderr);
  return folder;
}

/** The line of the request that asked who it is. */
function whoamiLine(text: string): string {
  const lines = text.split("\n").filter((line) => line.includes("whoami"));
  assert.equal(lines.length, 1, text);
  return lines[0] ?? "";
}

const PRECISE = "'%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(request)s - %(message)s'";

Deno.test("the file that Synapse generates: precise lines, buffered, in a file that is rotated at midnight", async () => {
  await using folder = await prepare();
  const { stderr, stdout } = await runWith(
    folder,
    `version: 1
formatters:
    precise:
        format: ${PRECISE}
handlers:
    file:
        class: logging.handlers.TimedRotatingFileHandler
        formatter: precise
        filename: ${folder.path}/hs.log
        when: midnight
        backupCount: 3
        encoding: utf8
    buffer:
        class: synapse.logging.handlers.PeriodicallyFlushingMemoryHandler
        target: file
        capacity: 10
        flushLevel: 30
        period: 5
    console:
        class: logging.StreamHandler
        formatter: precise
loggers:
    synapse.storage.SQL:
        level: INFO
root:
    level: INFO
    handlers: [buffer]
disable_existing_loggers: false
`,
  );
  assert(!stdout.includes("whoami") && !stderr.includes("whoami"), "The console is not used");
  const line = whoamiLine(await folder.read("hs.log"));
  assert.match(line, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - synapse\.access\.http - \S+ - INFO - GET-\d+ - /);
  // Id, who, what, status, time and time of the database.
  for (const part of [/user=@u\d+:example\.org/, /method=GET/, /path=\S*whoami/, /status=200/, /\bms=\d/, /db_ms=\d/]) {
    assert.match(line, part);
  }
});

Deno.test("structured logs: terse JSON on standard output, JSON on standard error", async () => {
  await using folder = await prepare();
  const { stdout, stderr } = await runWith(
    folder,
    `version: 1
formatters:
    structured:
        class: synapse.logging.TerseJsonFormatter
    json:
        class: synapse.logging.JsonFormatter
handlers:
    terse:
        class: logging.StreamHandler
        formatter: structured
        stream: ext://sys.stdout
    whole:
        class: logging.StreamHandler
        formatter: json
loggers:
    synapse:
        level: INFO
root:
    level: INFO
    handlers: [terse, whole]
`,
  );
  for (const text of [stdout, stderr]) {
    const { namespace, level, request, user, method, path, status, ms, db_ms: dbMs, ...rest } = JSON.parse(
      whoamiLine(text),
    );
    assert.deepEqual(
      { namespace, level, method, path, status },
      {
        ...{ namespace: "synapse.access.http", level: "INFO", method: "GET", status: 200 },
        path: "/_matrix/client/v3/account/whoami",
      },
    );
    assert.match(request, /^GET-\d+$/);
    assert.match(user, /^@u\d+:example\.org$/);
    assert(typeof ms === "number" && typeof dbMs === "number" && typeof rest.log === "string", JSON.stringify(rest));
    assert.equal("time" in rest, text === stdout, "Only terse lines have the time");
  }
});

Deno.test("levels of loggers: a logger by its own level, with handlers of its own", async () => {
  await using folder = await prepare();
  const { stderr } = await runWith(
    folder,
    `version: 1
formatters: { brief: { format: '%(levelname)s %(name)s %(message)s' } }
handlers:
    console: { class: logging.StreamHandler, formatter: brief }
    file: { class: logging.handlers.RotatingFileHandler, formatter: brief, filename: ${folder.path}/hs.log, maxBytes: 100000, backupCount: 2 }
loggers:
    synapse.access: { level: INFO, handlers: [file], propagate: false }
root: { level: WARNING, handlers: [console] }
disable_existing_loggers: true
`,
  );
  assert.match(whoamiLine(await folder.read("hs.log")), /^INFO synapse\.access\.http /);
  assert(!stderr.includes("INFO"), "The root lets only warnings through, and requests do not go on to it");
});

Deno.test("levels of loggers: requests are silenced while the rest is logged", async () => {
  await using folder = await prepare();
  const { stderr } = await runWith(
    folder,
    `version: 1
formatters: { brief: { format: '%(levelname)s %(name)s %(message)s' } }
handlers: { console: { class: logging.StreamHandler, formatter: brief } }
loggers: { synapse.access.http: { level: WARNING } }
root: { level: INFO, handlers: [console] }
`,
  );
  assert.match(stderr, /^INFO synapse\./m);
  assert(!stderr.includes("whoami"), stderr);
});
