import assert from "node:assert/strict";
import { type LogRecord, plainFormat, pythonFormat, terseJsonFormat } from "./log_format.ts";
import { consoleRoutes, flushLogs, getLogger, type LogRoute, parseLogLevel, setLogRoutes } from "./log.ts";
import { BufferedSink, FileSink, type Sink } from "./log_sinks.ts";
import { nextTurn } from "./turn.ts";

class MemorySink implements Sink {
  readonly lines: string[] = [];
  write(text: string): void {
    this.lines.push(text);
  }
  flush(): Promise<void> {
    return Promise.resolve();
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

const bare = ({ name, level, message }: LogRecord): string => `${name} ${level} ${message}`;
const record: LogRecord = { time: 1_700_000_000_123, name: "synapse.a", level: "info", message: "hi", fields: null };

function route(sink: Sink | null, given: Partial<LogRoute> = {}): LogRoute {
  const outputs = sink === null ? [] : [{ sink, format: bare, level: null }];
  return { level: null, outputs, propagate: true, ...given };
}

Deno.test("getLogger() takes level and outputs from the names above, also when they change", async () => {
  const [root, access] = [new MemorySink(), new MemorySink()];
  const log = getLogger("synapse.http.server");
  const quiet = getLogger("synapse.access.http");
  await setLogRoutes(
    new Map([
      ["", route(root, { level: "info" })],
      ["synapse.http", route(null, { level: "debug" })],
      ["synapse.access", route(access, { level: "warning", propagate: false })],
    ]),
  );
  try {
    log.debug("a");
    getLogger("synapse.other").debug("b");
    quiet.info("c");
    quiet.warn("d");
    assert.equal(log.isEnabled("debug"), true);
    assert.equal(quiet.isEnabled("info"), false);
    assert.deepEqual(root.lines, ["synapse.http.server debug a"]);
    assert.deepEqual(access.lines, ["synapse.access.http warning d"]);
    await setLogRoutes(new Map([["", route(root, { level: "error" })]]));
    log.warn("e");
    log.error("f");
    assert.deepEqual(root.lines.slice(1), ["synapse.http.server error f"]);
  } finally {
    await setLogRoutes(consoleRoutes("info"));
  }
});

Deno.test("plainFormat() shows fields, keeps them on the line, and errors below it", () => {
  const line = plainFormat({ ...record, fields: { user: "@a:b", text: "two\nlines", n: 3, request: "GET-1" } });
  assert.match(
    line,
    /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,123 - synapse\.a - INFO - hi user=@a:b text="two\\nlines" n=3\n$/,
  );
  const failed = plainFormat({ ...record, fields: { error: new Error("boom", { cause: new Error("why") }) } });
  assert.match(failed, / - hi\nError: boom\n {4}at .*Caused by: Error: why/s);
});

Deno.test("pythonFormat() reads Synapse's format strings", () => {
  const format = pythonFormat("%(levelname)-8s|%(request)s|%(lineno)d|100%%|%(message)s");
  assert.equal(format({ ...record, fields: { request: "GET-7" } }), "INFO    |GET-7|0|100%|hi\n");
});

Deno.test("terseJsonFormat() writes one object a line", () => {
  const line = terseJsonFormat({ ...record, fields: { request: "GET-7", level: 1 } });
  assert.deepEqual(JSON.parse(line), {
    log: "hi",
    namespace: "synapse.a",
    level: "INFO",
    time: 1_700_000_000.123,
    request: "GET-7",
    level_: 1,
  });
  assert.ok(line.endsWith("}\n"));
});

Deno.test("parseLogLevel() knows Python's names", () => {
  assert.deepEqual(["WARN", "Info", "CRITICAL", "LOUD"].map(parseLogLevel), ["warning", "info", "critical", null]);
});

Deno.test("FileSink rotates by size and keeps as many files as told", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/x.log`;
  const sink = new FileSink(path, { by: "size", maxBytes: 10, keep: 2 });
  await sink.open();
  for (const text of ["first 789", "second 89", "third 789", "fourth 89"]) {
    sink.write(text);
    await sink.flush();
  }
  await sink.close();
  assert.deepEqual(await Promise.all(["", ".1", ".2"].map((end) => Deno.readTextFile(path + end))), [
    "fourth 89",
    "third 789",
    "second 89",
  ]);
  await assert.rejects(Deno.stat(`${path}.3`), Deno.errors.NotFound);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("FileSink puts yesterday's file aside and removes old days", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/x.log`;
  await Deno.writeTextFile(path, "old\n");
  await Deno.writeTextFile(`${path}.2000-01-01`, "older\n");
  await Deno.utime(path, new Date("2001-02-03T12:00:00"), new Date("2001-02-03T12:00:00"));
  const sink = new FileSink(path, { by: "day", keep: 1 });
  await sink.open();
  sink.write("new\n");
  await sink.close();
  assert.equal(await Deno.readTextFile(path), "new\n");
  assert.equal(await Deno.readTextFile(`${path}.2001-02-03`), "old\n");
  await assert.rejects(Deno.stat(`${path}.2000-01-01`), Deno.errors.NotFound);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("lines written together come out in order, none lost", async () => {
  const path = await Deno.makeTempFile();
  const sink = new FileSink(path, null);
  await sink.open();
  const output = { sink, format: ({ message }: LogRecord) => `${message}\n`, level: null };
  await setLogRoutes(new Map([["", { level: "info", outputs: [output], propagate: false }]]));
  const log = getLogger("synapse.many");
  for (let i = 0; i < 5_000; i++) log.info(String(i));
  await flushLogs();
  await setLogRoutes(consoleRoutes("info"));
  const lines = (await Deno.readTextFile(path)).trimEnd().split("\n");
  assert.deepEqual(lines, Array.from({ length: 5_000 }, (_, i) => String(i)));
  await Deno.remove(path);
});

Deno.test("lines that follow soon after others wait for more, but not for a flush", async () => {
  const written: string[] = [];
  class Recorder extends BufferedSink {
    protected override writeBytes(bytes: Uint8Array): Promise<void> {
      written.push(new TextDecoder().decode(bytes));
      return Promise.resolve();
    }
  }
  const sink = new Recorder();
  sink.write("at once\n");
  await nextTurn();
  assert.deepEqual(written, ["at once\n"]);
  for (let line = 0; line < 50; line++) {
    sink.write(`${line}\n`);
    await nextTurn();
  }
  await sink.flush();
  assert.equal(written.join(""), ["at once", ...Array(50).keys()].map((line) => `${line}\n`).join(""));
  assert.ok(written.length < 50, `${written.length} writes`);
});
