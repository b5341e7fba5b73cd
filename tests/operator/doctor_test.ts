import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { judgeGrowth } from "../../src/cli/doctor/database.ts";
import { examine } from "../../src/cli/doctor/examine.ts";
import type { Finding, Status } from "../../src/cli/doctor/finding.ts";
import { defaultConfig } from "../../src/config/load.ts";
import type { SrvRecord } from "../../src/federation/dns.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { selectPushTrouble } from "../../src/storage/doctor_facts.ts";
import { PostgresConnection } from "../../src/storage/postgres_connection.ts";
import { commandFolder, programArgs } from "../cli/command_line.ts";
import { CA_PATH, makeCertificate } from "../federation/certificates.ts";
import { createEmptyDatabase, createTestDatabase, DIALECTS } from "../harness/databases.ts";
import { freePort } from "../harness/ports.ts";
import { runProcess } from "../harness/process.ts";
import { PushGateway } from "../harness/push_gateway.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { SmtpSink } from "../harness/smtp.ts";
import { type FrontFaults, startFront } from "./front.ts";
import { databaseOption } from "./operator.ts";
import { startTurn } from "./turn_server.ts";

const KEY = "ed25519 a_doctor AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const OTHER_KEY = "ed25519 a_other BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA";
const SECRET = "a secret long enough to keep";
const GOOD_DOCUMENTS = {
  "hs.test/.well-known/matrix/server": { "m.server": "matrix.hs.test:443" },
  "keys.test/.well-known/matrix/server": { "m.server": "keys.test:443" },
};

interface SetUp {
  readonly front?: FrontFaults;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly now?: number;
  /** Where port 8448 leads. */
  readonly federationPort?: number;
  /** What the name system says of `_matrix-fed._tcp.hs.test`. */
  readonly services?: readonly SrvRecord[];
}

const database = await createTestDatabase("sqlite");
const hs = await TestServer.start({
  database,
  config: { signing_key: KEY, public_baseurl: "https://matrix.hs.test/" },
});

/** Examines a set-up around the running server, which is right but for what is given. */
async function findingsOf(
  { front: faults = {}, config = {}, now, federationPort, services = [] }: SetUp,
): Promise<Finding[]> {
  await using front = await startFront(hs.base, {
    ...faults,
    documents: { ...GOOD_DOCUMENTS, ...faults.documents },
  });
  const values = defaultConfig("hs.test", {
    signing_key: KEY,
    public_baseurl: "https://matrix.hs.test/",
    federation_custom_ca_list: [CA_PATH],
    trusted_key_servers: [{ server_name: "keys.test" }],
    database: databaseOption(database),
    registration_shared_secret: SECRET,
    media_store_path: "/tmp/synapse-ts-doctor-media",
    listeners: [{
      port: Number(new URL(hs.base).port),
      bind_addresses: ["127.0.0.1"],
      resources: [{ names: ["client", "federation"] }],
    }],
    ...config,
  });
  const clock = { ...systemClock, now: () => now ?? systemClock.now() };
  return await Array.fromAsync(examine(values, {
    clock,
    dns: {
      lookup: () => Promise.resolve(["127.0.0.1"]),
      resolveSrv: (name) => Promise.resolve(name === "_matrix-fed._tcp.hs.test" ? services : []),
    },
    mapPort: (_, port) => port === 443 ? front.port : port === 8448 ? federationPort ?? front.port : port,
  }));
}

function list(findings: readonly Finding[], status: Status): string[] {
  return findings.filter((finding) => finding.status === status).map(({ check, message }) => `${check}: ${message}`);
}

Deno.test("the doctor finds nothing wrong with a right set-up, and says of each part that it is right", async () => {
  await using turn = await startTurn("turn secret");
  const findings = await findingsOf({
    config: { turn_uris: [`turn:127.0.0.1:${turn.port}?transport=udp`], turn_shared_secret: "turn secret" },
  });
  assert.deepEqual([...list(findings, "fail"), ...list(findings, "warn")], []);
  const checks = new Set(findings.map(({ check }) => check));
  for (const check of ["signing key", "secrets", "database", "disk", "listener", "clock", "well-known client"]) {
    assert.ok(checks.has(check), check);
  }
  for (const check of ["public URL", "CORS", "proxy", "well-known server", "federation", "certificate", "TURN"]) {
    assert.ok(checks.has(check), check);
  }
});

/** Set-ups with one thing wrong, and what must be found. */
const BROKEN: readonly (readonly [string, SetUp, RegExp])[] = [
  [
    "a signing key that is none",
    { config: { signing_key: "nonsense" } },
    /^signing key: "signing_key" is not a signing key$/m,
  ],
  ["a database in a folder that is not there", {
    config: { database: { name: "sqlite3", args: { database: "/nowhere/hs.db" } } },
  }, /^database: the folder of \/nowhere\/hs\.db does not exist$/m],
  [
    "a path of the proxy that is decoded",
    { front: { decodesPaths: true } },
    /^proxy: it changes encoded paths \(%2F\)/m,
  ],
  [
    "a proxy that refuses uploads",
    { front: { refusesUploads: true } },
    /^proxy: it refuses uploads that max_upload_size allows/m,
  ],
  ["a well-known document for another URL", {
    front: {
      documents: { "hs.test/.well-known/matrix/client": { "m.homeserver": { base_url: "https://old.hs.test" } } },
    },
  }, /^well-known client: .* sends clients to https:\/\/old\.hs\.test/m],
  ["no well-known document although it is needed", {
    front: { documents: { "hs.test/.well-known/matrix/client": null } },
  }, /^well-known client: .* gives status 404$/m],
  ["no CORS", { front: { withoutCors: true } }, /^CORS: .* comes without Access-Control-Allow-Origin/m],
  ["a well-known server document that names none", {
    front: { documents: { "hs.test/.well-known/matrix/server": { server: "x" } } },
  }, /^well-known server: .* names no server$/m],
  ["port 8448 closed, without delegation", {
    federationPort: freePort(),
    front: { documents: { "hs.test/.well-known/matrix/server": null } },
  }, /^federation: hs\.test port 8448 cannot be reached/m],
  ["an SRV record that says there is no server", {
    front: { documents: { "hs.test/.well-known/matrix/server": null } },
    services: [{ host: "", port: 0, priority: 0, weight: 0 }],
  }, /^federation: the SRV record of hs\.test says that there is no Matrix server$/m],
  ["an SRV record that leads to a closed port", {
    front: { documents: { "hs.test/.well-known/matrix/server": null } },
    services: [{ host: "matrix.hs.test", port: freePort(), priority: 0, weight: 0 }],
  }, /^federation: matrix\.hs\.test port \d+ cannot be reached/m],
  [
    "a certificate for other names",
    { front: { names: ["DNS:hs.test", "DNS:keys.test"] } },
    /^certificate: at matrix\.hs\.test port 443: it is not for matrix\.hs\.test$/m,
  ],
  [
    "a certificate that has ended",
    { now: Date.now() + 40 * 86_400_000 },
    /^certificate: at matrix\.hs\.test port 443: it ended on /m,
  ],
  ["a clock that is wrong", { front: { skewMs: 600_000 } }, /^clock: it is \d+ seconds off from that of keys\.test$/m],
  [
    "another server behind the name",
    { config: { signing_key: OTHER_KEY } },
    /^federation: matrix\.hs\.test port 443 serves other signing keys \(ed25519:a_doctor\) than this configuration's$/m,
  ],
  ["a TURN server that does not answer", {
    config: { turn_uris: [`turn:127.0.0.1:${freePort()}`], turn_shared_secret: "x" },
  }, /^TURN: .* does not answer/m],
  ["TURN without credentials", { config: { turn_uris: ["turn:127.0.0.1"] } }, /^TURN: turn_uris is set, and neither/m],
];

for (const [name, setUp, expected] of BROKEN) {
  Deno.test(`the doctor finds ${name}`, async () => {
    const findings = await findingsOf(setUp);
    assert.match(list(findings, "fail").join("\n"), expected);
    for (const { status, advice, check } of findings) if (status !== "ok") assert.ok((advice ?? "").length > 3, check);
  });
}

Deno.test("the doctor, and what else only reads, knows a database of Synapse and one of another program", async () => {
  await using folder = await commandFolder();
  const judge = async (table: string) => {
    const path = `${folder.path}/${table}.db`;
    const other = new DatabaseSync(path);
    other.exec(`CREATE TABLE ${table} (a INTEGER)`);
    other.close();
    return await findingsOf({ config: { database: { name: "sqlite3", args: { database: path } } } });
  };
  const synapse = list(await judge("applied_schema_deltas"), "fail").join("\n");
  assert.match(synapse, /^database: The database is Synapse's, which this server cannot use/m);
  assert.match(list(await judge("users"), "fail").join("\n"), /^database: The database has tables of another program/m);
  await folder.write(
    "a.yaml",
    "server_name: hs.test\nreport_stats: false\ndatabase: {name: sqlite3, args: {database: users.db}}\n",
  );
  for (const args of [["disk"], ["backup", "copy"], ["review-recent-signups"], ["update-database"]]) {
    const { code, stderr } = await folder.run([...args, "-c", "a.yaml"]);
    assert.deepEqual(
      [code, stderr],
      [1, "The database has tables of another program; give this server an empty one\n"],
      args[0],
    );
  }
});

Deno.test("the doctor finds a port that another program has, and TURN with the wrong secret", async () => {
  using other = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const accepting = (async () => {
    for await (const connection of other) connection.close();
  })();
  await using turn = await startTurn("turn secret");
  const findings = await findingsOf({
    config: {
      turn_uris: [`turn:127.0.0.1:${turn.port}`],
      turn_shared_secret: "another secret",
      listeners: [{ port: other.addr.port, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client"] }] }],
    },
  });
  const failures = list(findings, "fail").join("\n");
  assert.match(failures, new RegExp(`^listener: another program has 127\\.0\\.0\\.1 port ${other.addr.port}$`, "m"));
  assert.match(failures, /^TURN: turn:127\.0\.0\.1:\d+ refuses an allocation: 401 Unauthorized$/m);
  other.close();
  await accepting.catch(() => {});
});

Deno.test("the doctor logs in at the mail server, and says why it cannot", async () => {
  await using smtp = await SmtpSink.start({ login: { user: "hs", pass: "right" } });
  const judge = async (email: Readonly<Record<string, unknown>>) => {
    const findings = await findingsOf({
      config: { email: { smtp_host: "127.0.0.1", notif_from: "hs@hs.test", ...email } },
    });
    return findings.filter(({ check }) => check === "mail").map(({ status, message }) => `${status} ${message}`).join();
  };
  const login = { smtp_port: smtp.port, smtp_user: "hs", smtp_pass: "right" };
  assert.match(await judge(login), /^ok 127\.0\.0\.1 port \d+ lets the server in as hs$/);
  assert.match(await judge({ ...login, smtp_pass: "wrong" }), /^fail 127\.0\.0\.1 port \d+: .*login/i);
  assert.match(await judge({ ...login, require_transport_security: true }), /^fail .*certificate/);
  assert.match(await judge({ ...login, smtp_port: freePort() }), /^fail .*ECONNREFUSED|^fail .*refused/i);
  assert.equal(smtp.mails.length, 0);
});

testEachServer("the doctor finds gateways that do not answer, and tells how the database grows", async (own) => {
  await using gateway = new PushGateway();
  await using server = await TestServer.start({ database: own, config: { ip_range_blacklist: [] } });
  const [alice, bob] = await server.register("alice", "bob");
  const room = await alice.createRoom({ preset: "public_chat" });
  await bob.join(room);
  const judge = async (now?: number) => {
    const all = await findingsOf({ config: { database: databaseOption(own) }, ...now !== undefined && { now } });
    return all.map(({ check, status, message }) => `${status} ${check}: ${message}`).join("\n");
  };
  await bob.post("/pushers/set", {
    ...{ kind: "http", app_id: "app", app_display_name: "App", device_display_name: "Phone" },
    ...{ pushkey: "key", lang: "en", data: { url: gateway.url } },
  });
  const first = await judge();
  assert.match(first, /^ok push: 1 pushers, all delivering$/m);
  assert.match(first, /^ok database: it grows by about [1-9][\d.]* [KM]B a day$/m);
  // All of it is older than the days that are looked at.
  assert.match(await judge(Date.now() + 30 * 86_400_000), /^ok database: it grows by about 0 B a day$/m);
  gateway.answer = () => ({ status: 503 });
  await alice.sendText(room, "nobody hears of this");
  while ((await selectPushTrouble(server.parts.core.db)).failing.length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const expected = `warn push: 1 of 1 pushers fail; most at ${gateway.url}`;
  assert.ok((await judge()).split("\n").includes(expected), expected);
});

Deno.test("the doctor warns of a disk that is full soon", () => {
  assert.deepEqual(judgeGrowth({ daily: 1024 ** 2, free: 31 * 1024 ** 2 }).status, "ok");
  const { status, message } = judgeGrowth({ daily: 1024 ** 2, free: 10.5 * 1024 ** 2 });
  assert.deepEqual([status, message], ["warn", "it grows by about 1.0 MB a day: the disk is full in about 10 days"]);
  assert.equal(judgeGrowth({ daily: 0, free: 0 }).status, "ok");
  assert.equal(judgeGrowth({ daily: 1024 ** 4, free: null }).status, "ok");
});

Deno.test("the doctor looks at the files of a certificate", async () => {
  await using folder = await commandFolder();
  const [right, wrong] = [await makeCertificate("DNS:matrix.hs.test"), await makeCertificate("DNS:else.test")];
  const port = freePort();
  const judge = async (cert: string, key: string) => {
    const config = {
      tls_certificate_path: await folder.write("tls.crt", cert),
      tls_private_key_path: await folder.write("tls.key", key),
      listeners: [{ port, tls: true, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client", "federation"] }] }],
    };
    const findings = await findingsOf({ config });
    return findings.filter(({ check, message }) => check === "certificate" && !message.startsWith("at "));
  };
  const found = (findings: readonly Finding[], status: Status) => list(findings, status).join("\n");
  const first = await judge(right.cert, right.key);
  assert.equal(found(first, "fail"), "");
  assert.match(found(first, "warn"), /the file holds one certificate only/);
  assert.match(
    found(await judge(wrong.cert, wrong.key), "fail"),
    /it is not for matrix\.hs\.test but for else\.test/,
  );
  const wide = await makeCertificate("DNS:*.hs.test", "IP:127.0.0.1");
  assert.match(found(await judge(wide.cert, wide.key), "ok"), /it is for matrix\.hs\.test/);
  const wider = await makeCertificate("DNS:*.test");
  assert.match(found(await judge(wider.cert, wider.key), "fail"), /not for matrix\.hs\.test but for \*\.test/);
  assert.match(found(await judge(right.cert, wrong.key), "fail"), /the key in .* is not the certificate's/);
  assert.match(found(await judge(`${right.cert}${wrong.cert}`, right.key), "fail"), /did not issue the one before it/);
  assert.match(found(await judge("nothing", right.key), "fail"), /it holds no certificate/);
});

Deno.test("doctor prints a line each, as JSON too, and ends with 1 when something does not work", async () => {
  await using folder = await commandFolder();
  await folder.write("bad.yaml", "server_name: hs.test\nlisteners: 7\nmax_upload_size: x\n");
  const bad = await folder.run(["doctor", "-c", "bad.yaml"]);
  assert.equal(bad.code, 1);
  assert.match(bad.stdout, /^fail {2}configuration: bad\.yaml:2:1: option "listeners" .*\n {6}→ /m);
  assert.match(bad.stdout, /\n0 ok, 0 warnings, 2 failures\n$/);
  await folder.run(["generate-config", "--server-name", "127.0.0.1"]);
  const port = freePort();
  const text = (await folder.read("homeserver.yaml")).replace("port: 8008", `port: ${port}`);
  await folder.write("homeserver.yaml", text.replace(/trusted_key_servers:\n.*\n/, "trusted_key_servers: []\n"));
  const json = await folder.run(["doctor", "-c", "homeserver.yaml", "--json"]);
  const report = JSON.parse(json.stdout);
  assert.equal(report.findings.length, report.ok + report.warn + report.fail);
  assert.equal(json.code, report.fail > 0 ? 1 : 0);
  assert.ok(report.findings.some((finding: Finding) => finding.check === "listener" && finding.status === "ok"));
});

Deno.test("doctor, with the permissions it has, finds that too few files may be open, and tells of the memory", async () => {
  await using folder = await commandFolder();
  await folder.run(["generate-config", "--server-name", "127.0.0.1"]);
  const quoted = [Deno.execPath(), ...programArgs(["doctor", "-c", "homeserver.yaml", "--json"])].map((word) =>
    `'${word}'`
  );
  const { stdout } = await runProcess("sh", {
    args: ["-c", `ulimit -n 1000; exec ${quoted.join(" ")}`],
    cwd: folder.path,
  });
  const findings: Finding[] = JSON.parse(stdout).findings;
  const files = findings.find(({ check }) => check === "open files");
  assert.deepEqual([files?.status, files?.message], ["warn", "only 1000 files and connections may be open here"]);
  assert.match(findings.find(({ check }) => check === "memory")?.message ?? "", /available/);
});

if (DIALECTS.includes("postgres")) {
  Deno.test("the doctor finds a PostgreSQL database with an unsafe collation, of another server, or that is not there", async () => {
    await using empty = await createEmptyDatabase("postgres");
    if (!("postgres" in empty.options)) return;
    const { server } = empty.options.postgres;
    const name = `doctor_${crypto.randomUUID().slice(0, 8)}`;
    const admin = await PostgresConnection.open(server);
    await admin.command(`CREATE DATABASE ${name} TEMPLATE template0 LOCALE 'C.UTF-8'`);
    try {
      const unsafe = { name: "psycopg2", args: { ...server, database: name }, allow_unsafe_locale: true };
      await TestServer.start({
        database: {
          dialect: "postgres",
          options: { postgres: { server: { ...server, database: name }, allowUnsafeLocale: true } },
          [Symbol.asyncDispose]: () => Promise.resolve(),
        },
        serverName: "other.test",
      }).then((started) => started[Symbol.asyncDispose]());
      const risky = await findingsOf({ config: { database: unsafe } });
      assert.match(list(risky, "warn").join("\n"), /^database: its collation is C\.UTF-8, not C/m);
      assert.match(list(risky, "fail").join("\n"), /^database: it belongs to the server other\.test/m);
      const refused = await findingsOf({ config: { database: { ...unsafe, allow_unsafe_locale: false } } });
      assert.match(list(refused, "fail").join("\n"), /^database: its collation is C\.UTF-8, not C/m);
      const missing = await findingsOf({
        config: { database: { name: "psycopg2", args: { ...server, database: "none" } } },
      });
      assert.match(list(missing, "fail").join("\n"), /^database: .*does not exist/m);
    } finally {
      await admin.command(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
      await admin.close();
    }
  });
}

Deno.test("the server that was examined stops", async () => {
  await hs[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});
