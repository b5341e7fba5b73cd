import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { StartupError } from "../lib/startup_error.ts";
import { databaseOptions } from "../storage/database_options.ts";
import { ConfigError, defaultConfig, loadConfig } from "./load.ts";
import { listOldNames } from "./legacy.ts";
import { listOptionNames, listOptions } from "./options.ts";
import { nearestName } from "./schema.ts";

async function inFolder(
  files: Readonly<Record<string, string | Uint8Array>>,
  work: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-config-" });
  try {
    for (const [name, text] of Object.entries(files)) await Deno.writeFile(`${folder}/${name}`, Buffer.from(text));
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Returns the problems of one file, without the name of its folder. */
async function problemsOf(text: string): Promise<readonly string[]> {
  let problems: readonly string[] = [];
  await inFolder({ "hs.yaml": text }, async (folder) => {
    try {
      await loadConfig({ paths: [`${folder}/hs.yaml`] });
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      problems = error.problems.map((problem) => problem.replace(`${folder}/`, ""));
    }
  });
  return problems;
}

async function warningsOf(text: string): Promise<readonly string[]> {
  let result: readonly string[] = [];
  await inFolder({ "hs.yaml": text }, async (folder) => {
    const { warnings } = await loadConfig({ paths: [`${folder}/hs.yaml`] });
    result = warnings.map((warning) => warning.replace(`${folder}/`, ""));
  });
  return result;
}

Deno.test("every option of Synapse, and every part of one, is known", async () => {
  const fixture = new URL("../../tests/fixtures/config/synapse_options.txt", import.meta.url);
  const names = (await Deno.readTextFile(fixture)).trim().split("\n");
  const known = new Set(listOptions().flatMap(({ name, inner }) => [name, ...inner.map((part) => `${name}.${part}`)]));
  assert.equal(names.filter((name) => !/[.[]/.test(name)).length, 226);
  // These maps are passed on as they are, so the parts the manual describes are not listed.
  const opaque =
    /^(databases?|email\.subjects|.*\.jwt_header|matrix_rtc\.transports\[\]|media_storage_providers\[\]\.config)\./;
  const unknown = names.filter((name) => !known.has(name.replaceAll("[]", "")) && !opaque.test(name));
  assert.deepEqual(unknown, []);
});

Deno.test("every option says what it does and whether it has an effect", () => {
  const names = listOptionNames();
  assert.equal(new Set(names).size, names.length);
  for (const { name, doc, effect } of listOptions()) {
    assert.match(doc, /^[A-Z`].*\.$/s, name);
    if (effect.status === "accepted, no effect") assert.ok(effect.because.length > 10, name);
  }
  for (const { name, now } of listOldNames()) {
    assert.ok(!names.includes(name), name);
    assert.ok(names.includes(now.split(".")[0] ?? ""), now);
  }
});

Deno.test("homeserver.example.yaml holds defaults, and only those lines marked as examples differ", async () => {
  const text = await Deno.readTextFile(new URL("../../homeserver.example.yaml", import.meta.url));
  const secrets = { registration_shared_secret: "a", turn_shared_secret: "b" };
  await inFolder(secrets, async (folder) => {
    await Deno.writeTextFile(`${folder}/example.yaml`, text.replaceAll("data/", `${folder}/`));
    const { config, warnings } = await loadConfig({ paths: [`${folder}/example.yaml`] });
    assert.deepEqual(warnings.filter((warning) => !warning.endsWith("has no effect in this version yet")), []);
    assert.equal(config.serverName, "example.org");
    const plain = defaultConfig("example.org");
    const { autoJoinRooms, registrationSharedSecret, registrationSharedSecretPath, ...registration } =
      config.registration;
    assert.deepEqual([autoJoinRooms.length, registrationSharedSecret], [1, "a"]);
    assert.ok(registrationSharedSecretPath);
    assert.deepEqual({ ...plain.registration, ...registration }, plain.registration);
    for (const section of ["media", "sessions", "passwords", "rooms", "ratelimits", "push", "federation"] as const) {
      assert.deepEqual(config[section], plain[section], section);
    }
    assert.deepEqual({ ...config.server, publicBaseurl: null }, plain.server);
  });
});

Deno.test("defaultConfig() has Synapse's defaults, frozen to the bottom", () => {
  const config = defaultConfig("example.org", { rc_message: { per_second: 5 }, max_upload_size: "1M" });
  assert.equal(config.publicBaseurl, "https://example.org/");
  assert.equal(config.hasPublicBaseurl, false);
  assert.deepEqual(config.ratelimits.rcMessage, { perSecond: 5, burstCount: 3 });
  assert.deepEqual(config.ratelimits.rcLogin.account, { perSecond: 0.003, burstCount: 5 });
  assert.equal(config.media.maxUploadSize, 1_048_576);
  assert.equal(config.blocking.redactionRetentionPeriod, 604_800_000);
  assert.equal(config.sessions.sessionLifetime, null);
  assert.equal(config.sessions.refreshableAccessTokenLifetime, 300_000);
  assert.equal(config.server.defaultRoomVersion, "12");
  assert.equal(config.federation.federationDomainWhitelist, null);
  assert.equal(config.experimental.experimentalFeatures.isEnabled("msc3575_enabled"), true);
  assert.throws(() => Object.assign(config.ratelimits.rcMessage, { perSecond: 1 }), TypeError);
  assert.throws(() => Object.assign(config.server.ipRangeBlacklist, { 0: "x" }), TypeError);
});

Deno.test("a wrong type names file, line, option, what was found and what is allowed", async () => {
  const text = `server_name: example.org
presence:
  enabled: maybe
  idle_timeout: 3 minutes
listeners:
  - port: 8008
    resources:
      - names: [client, fedration]
  - { port: 70000 }
  - {}
max_upload_size: 50 MB of data
registration_shared_secret: 1234
ip_range_blacklist: [10.0.0.0/33]
`;
  assert.deepEqual(await problemsOf(text), [
    'hs.yaml:3:3: option "presence.enabled" is the string "maybe" but must be true, false or "untracked"',
    'hs.yaml:4:3: option "presence.idle_timeout" is the string "3 minutes" but must be a duration such as "30s", "5m", "1h", "7d" or "1y", or an integer of milliseconds',
    'hs.yaml:13:22: option "ip_range_blacklist[0]" is the string "10.0.0.0/33" but must be an IP address or a range such as "10.0.0.0/8"',
    'hs.yaml:8:25: option "listeners[0].resources[0].names[1]" is the string "fedration" but must be "client", "consent", "federation", "health", "keys", "media", "metrics", "openid", "replication" or "static"',
    'hs.yaml:9:7: option "listeners[1].port" is the integer 70000 but must be an integer of at least 0 and at most 65535',
    'hs.yaml:10:5: option "listeners[2]" must have either "port" or "path"',
    'hs.yaml:11:1: option "max_upload_size" is the string "50 MB of data" but must be a size such as "50M" or "87K", or an integer',
    'hs.yaml:12:1: option "registration_shared_secret" is an integer but must be a string',
  ]);
});

Deno.test("what is no YAML, or not the YAML that Synapse reads, is refused in one sentence", async () => {
  const cases: readonly (readonly [string | Uint8Array, string])[] = [
    ["a:\n\tb: 1\n", ":2:1: this is not valid YAML: Tabs are not allowed as indentation"],
    ["a: 1\n---\nb: 2\n", ":2:1: this is not valid YAML: there is more than one document"],
    ["server_name: x\nform_secret: !vault |\n  abc\n", ":2:14: this is not valid YAML: Unresolved tag: !vault"],
    [`a: ${"[".repeat(5000)}${"]".repeat(5000)}\n`, "values are nested too deep"],
    [new Uint8Array([0x61, 0x3a, 0x20, 0xe4, 0x0a]), ": this is not valid YAML: it is not UTF-8"],
  ];
  for (const [text, expected] of cases) {
    await inFolder({ "hs.yaml": text }, async (folder) => {
      await assert.rejects(loadConfig({ paths: [`${folder}/hs.yaml`] }), (error) => {
        assert.ok(error instanceof StartupError);
        assert.ok(error.message.startsWith(`${folder}/hs.yaml:`) && error.message.endsWith(expected), error.message);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      });
    });
  }
});

Deno.test("a key that is given twice within an option is warned about", async () => {
  assert.deepEqual(await warningsOf("server_name: x\nrc_message:\n  per_second: 1\n  per_second: 2\n"), [
    'hs.yaml:4:3: option "per_second" is given twice; the last counts',
  ]);
});

Deno.test("what contradicts itself is refused", async () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["enable_registration: true", /lets anyone register without verification/],
    ["url_preview_enabled: true", /needs "url_preview_ip_range_blacklist"/],
    ["listeners: [{ port: 8448, tls: true }]", /listeners\[0\]\.tls" needs "tls_certificate_path"/],
    ["default_room_version: '99'", /is not a known room version/],
    ["email: { smtp_host: localhost }", /email\.notif_from" is missing/],
    ["public_baseurl: matrix.example.org", /must start with "https/],
    ["databases: { main: {} }", /cannot be used/],
  ];
  for (const [line, reason] of cases) {
    const problems = await problemsOf(`server_name: example.org\n${line}\n`);
    assert.equal(problems.length, 1, line);
    assert.match(problems[0] ?? "", reason);
    assert.match(problems[0] ?? "", /^hs\.yaml:2:/);
  }
  assert.deepEqual(
    await problemsOf("server_name: x\nenable_registration: true\nenable_registration_without_verification: true\n"),
    [],
  );
});

Deno.test("unknown and old names are warned about, with the name to use", async () => {
  assert.deepEqual(
    await warningsOf(
      "server_name: x\nenable_registratoin: true\npresence: { enabeld: true }\nuse_presence: false\nexperimental_features: { msc9999_enabled: true }\nserver_name: y\n",
    ),
    [
      'hs.yaml:6:1: option "server_name" is given twice; the last counts',
      'hs.yaml:4:1: option "use_presence" is an old name; use "presence.enabled"',
      'hs.yaml:2:1: option "enable_registratoin" is not an option; did you mean "enable_registration"?',
      'hs.yaml:3:13: option "presence.enabeld" is not an option; did you mean "enabled"?',
    ],
  );
  assert.equal(nearestName("zzzzzz", listOptionNames()), null);
});

Deno.test("the arguments for PostgreSQL are checked: a wrong one connects to nothing else", async () => {
  const database = (args: string) => `server_name: x\ndatabase: { name: psycopg2, args: { ${args} } }\n`;
  assert.deepEqual(await problemsOf(database("port: hello")), [
    'hs.yaml:2:37: option "database.args.port" is the string "hello" but must be an integer of at least 1 and at most 65535',
  ]);
  assert.match(String(await problemsOf(database("sslmode: verfy-full"))), /"verfy-full" but must be "disable",/);
  assert.match(String(await problemsOf(database("password: [hush]"))), /args\.password" is a list of 1 but must be/);
  assert.deepEqual(await warningsOf(database("hots: db, keepalives_idle: 10, sslrootcert: /x")), [
    'hs.yaml:2:37: option "database.args.hots" is not an option; did you mean "host"?',
    'hs.yaml:2:68: option "database.args.sslrootcert" has no effect here',
  ]);
  const args = { host: "db", port: "5433", password: 1234, dbname: "synapse" };
  const options = databaseOptions(defaultConfig("x", { database: { name: "psycopg2", args } }).database);
  assert.ok("postgres" in options);
  assert.deepEqual(options.postgres.server, { host: "db", port: 5433, password: "1234", database: "synapse" });
});

Deno.test("old names take effect, and the present name wins", () => {
  const old = defaultConfig("x", { use_presence: false, rc_messages_per_second: 7, federation_rc_sleep_limit: 3 });
  assert.equal(old.server.presence.enabled, false);
  assert.equal(old.ratelimits.rcMessage.perSecond, 7);
  assert.equal(old.ratelimits.rcFederation.sleepLimit, 3);
  assert.equal(defaultConfig("x", { use_presence: false, presence: { enabled: true } }).server.presence.enabled, true);
  assert.equal(defaultConfig("x", { metrics_port: 9000 }).listeners[0]?.type, "metrics");
});

Deno.test("files merge by top-level key, a folder gives its *.yaml by name", async () => {
  const files = {
    "a.yaml": "server_name: a.org\npresence: { enabled: false, idle_timeout: 1m }\n",
    "b.yaml": "presence: { idle_timeout: 2m }\nweb_client_location: https://b/\n",
    "c.yaml.bak": "server_name: wrong.org\n",
    "d.yaml": "# nothing\n",
    "z.conf": "web_client_location: https://z/\n",
  };
  await inFolder(files, async (folder) => {
    const { config, warnings } = await loadConfig({ paths: [folder, `${folder}/z.conf`] });
    assert.equal(config.serverName, "a.org");
    assert.deepEqual([config.server.presence.enabled, config.server.presence.idleTimeout], [true, 120_000]);
    assert.equal(config.server.webClientLocation, "https://z/");
    assert.equal(config.signingKeyPath, `${folder}/a.org.signing.key`);
    assert.deepEqual(warnings.map((warning) => warning.replace(`${folder}/`, "")).sort(), [
      "c.yaml.bak is ignored: its name does not end in .yaml",
      "d.yaml is ignored: it is empty",
      "z.conf is ignored: its name does not end in .yaml",
    ]);
  });
});

Deno.test("YAML means what it means to Synapse", async () => {
  const text = `server_name: example.org
report_stats: yes
enable_search: off
listeners:
  - path: /run/a.sock
    mode: 0660
  - path: /run/b.sock
    mode: 660
  - port: 1
    <<: &shared { x_forwarded: yes }
    resources: [{ names: client }]
old_signing_keys: { "ed25519:y": { key: n, expired_ts: 1 } }
`;
  await inFolder({ "hs.yaml": text }, async (folder) => {
    const { config } = await loadConfig({ paths: [`${folder}/hs.yaml`] });
    assert.deepEqual([config.metrics.reportStats, config.server.enableSearch], [true, false]);
    assert.deepEqual(config.listeners.map(({ mode }) => mode), [0o660, 0o660, 0o666]);
    assert.equal(config.listeners[2]?.xForwarded, true);
    assert.deepEqual(config.listeners[2]?.resources, [{ names: ["client"], compress: false }]);
    assert.deepEqual(config.signingKeys.oldSigningKeys, { "ed25519:y": { key: "n", expiredTs: 1 } });
  });
});

Deno.test("hostile YAML is refused in one sentence", async () => {
  const bombs = Array.from({ length: 12 }, (_, i) => `y${i}: &b${i} [${Array(10).fill(i ? `*b${i - 1}` : "1")}]`);
  for (
    const text of [bombs.join("\n"), "[".repeat(100_000), `a: ${"{a: ".repeat(200)}1${"}".repeat(200)}`, "a: *x\n"]
  ) {
    await inFolder({ "hs.yaml": text }, async (folder) => {
      await assert.rejects(loadConfig({ paths: [`${folder}/hs.yaml`] }), (error: Error) => {
        assert.equal(error.name, "StartupError");
        assert.equal(error.message.split("\n").length, 1);
        return true;
      });
    });
  }
});

Deno.test("secrets come from files, and not from both places", async () => {
  await inFolder({ secret: "  from file\n" }, async (folder) => {
    const both = { "hs.yaml": `server_name: x\nturn_shared_secret_path: ${folder}/secret\n` };
    await Deno.writeTextFile(`${folder}/hs.yaml`, both["hs.yaml"]);
    const paths = [`${folder}/hs.yaml`];
    assert.equal((await loadConfig({ paths })).config.turn.turnSharedSecret, "from file");
    await Deno.writeTextFile(`${folder}/hs.yaml`, `${both["hs.yaml"]}turn_shared_secret: inline\n`);
    await assert.rejects(loadConfig({ paths }), /both set/);
    await Deno.writeTextFile(`${folder}/hs.yaml`, `server_name: x\nturn_shared_secret_path: ${folder}/absent\n`);
    await assert.rejects(loadConfig({ paths }), /absent, named by option "turn_shared_secret_path": there is no such/);
  });
});

Deno.test("environment variables count where Synapse reads them", async () => {
  await inFolder({ "hs.yaml": "server_name: x\nhttp_proxy: http://config\n" }, async (folder) => {
    const values: Record<string, string> = {
      SYNAPSE_CACHE_FACTOR: "2",
      http_proxy: "http://env",
      HTTPS_PROXY: "http://s",
    };
    const { config } = await loadConfig({ paths: [`${folder}/hs.yaml`], env: (name) => values[name] });
    assert.equal(config.caching.caches.globalFactor, 2);
    assert.deepEqual([config.server.httpProxy, config.server.httpsProxy], ["http://config", "http://s"]);
  });
});

Deno.test("the configuration of a worker is refused, and that of the main process of several is not", () => {
  const main = { worker_app: "synapse.app.homeserver", redis: { enabled: true }, instance_map: { main: {} } };
  assert.equal(defaultConfig("x", main).workers.workerApp, "synapse.app.homeserver");
  const worker = { worker_app: "synapse.app.generic_worker", worker_name: "one" };
  assert.throws(() => defaultConfig("x", worker), /worker_app" is that of a worker, but one process does all the work/);
});
