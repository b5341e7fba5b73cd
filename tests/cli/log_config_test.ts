import assert from "node:assert/strict";
import { loadLogConfig } from "../../src/config/log_config.ts";
import { commandFolder } from "./command_line.ts";

Deno.test("the log configuration that generate-config writes is read whole", async () => {
  await using folder = await commandFolder();
  await folder.run(["generate-config", "--server-name", "example.org"]);
  const { routes, warnings } = await loadLogConfig(`${folder.path}/example.org.log.config`);
  assert.deepEqual(warnings, []);
  assert.equal(routes.get("")?.level, "info");
  assert.equal(routes.get("")?.outputs.length, 1);
  assert.equal(routes.get("synapse.storage")?.level, "info");
  for (const { sink } of routes.get("")?.outputs ?? []) await sink.close();
  assert.ok((await folder.list()).includes("homeserver.log"));
});

Deno.test("a log configuration in Synapse's form is followed through its memory handler", async () => {
  await using folder = await commandFolder();
  const path = await folder.write(
    "log.yaml",
    `version: 1
formatters:
  structured: { class: synapse.logging.TerseJsonFormatter }
handlers:
  file: { class: logging.handlers.TimedRotatingFileHandler, formatter: structured, filename: ${folder.path}/hs.log, when: midnight, backupCount: 3 }
  buffer: { class: synapse.logging.handlers.PeriodicallyFlushingMemoryHandler, target: file, capacity: 10 }
  remote: { class: synapse.logging.RemoteHandler, host: localhost }
root: { level: WARNING, handlers: [buffer, remote] }
`,
  );
  const { routes, warnings } = await loadLogConfig(path);
  assert.deepEqual(warnings, [
    `${path}: option "handlers.remote" has class "RemoteHandler", which is not supported`,
  ]);
  const [output] = routes.get("")?.outputs ?? [];
  output?.sink.write(
    output.format({ time: 1000, name: "synapse.x", level: "error", message: "hi", fields: null }),
  );
  await output?.sink.close();
  assert.deepEqual(JSON.parse(await folder.read("hs.log")), {
    log: "hi",
    namespace: "synapse.x",
    level: "ERROR",
    time: 1,
  });
});

Deno.test("a log configuration that cannot be followed is refused in one sentence", async () => {
  await using folder = await commandFolder();
  const cases: readonly (readonly [string, RegExp])[] = [
    ["root: { level: LOUD }", /option "root\.level" is "LOUD" but must be DEBUG, INFO, WARNING, ERROR or CRITICAL/],
    ["- x", /must be a map/],
    [
      "handlers: { f: { class: logging.FileHandler, filename: /nowhere/x.log } }\nroot: { handlers: [f] }",
      /^Cannot write the log file \/nowhere\/x\.log, named in .*: there is no such file or folder$/,
    ],
  ];
  for (const [text, reason] of cases) {
    const path = await folder.write("log.yaml", text);
    await assert.rejects(loadLogConfig(path), (error: Error) => {
      assert.equal(error.name, "StartupError");
      assert.match(error.message, reason);
      return true;
    });
  }
  await assert.rejects(loadLogConfig("/nowhere/log.yaml"), /Cannot read the log configuration/);
});
