import assert from "node:assert/strict";
import { loadConfig } from "../../src/config/load.ts";
import { parseSigningKeys } from "../../src/protocol/signatures.ts";
import { commandFolder } from "./command_line.ts";

const GENERATE = ["generate-config", "--server-name", "example.org"];

Deno.test("generate-config writes a configuration, a key and a log configuration and says so", async () => {
  await using folder = await commandFolder();
  const { code, stdout, stderr } = await folder.run(GENERATE);
  assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
  assert.equal(
    stdout,
    "Generating config file homeserver.yaml\n" +
      `Generating signing key file ${folder.path}/example.org.signing.key\n` +
      `Generating log config file ${folder.path}/example.org.log.config which will log to ${folder.path}/homeserver.log\n` +
      "A config file has been generated in 'homeserver.yaml' for server name 'example.org'. " +
      "Please review this file and customise it to your needs.\n",
  );
  assert.deepEqual(await folder.list(), ["example.org.log.config", "example.org.signing.key", "homeserver.yaml"]);
  assert.equal(await folder.mode("example.org.signing.key"), 0o640);
  assert.equal(await folder.mode("homeserver.yaml"), 0o640);
  const key = await folder.read("example.org.signing.key");
  assert.match(key, /^ed25519 a_[A-Za-z]{4} [A-Za-z0-9+/]{43}\n$/);
  assert.equal(parseSigningKeys(key)?.length, 1);
});

Deno.test("generate-config writes Synapse's keys in their order, with secrets of 50 characters", async () => {
  await using folder = await commandFolder();
  await folder.run([...GENERATE, "--report-stats=yes"]);
  const text = await folder.read("homeserver.yaml");
  const names = [...text.matchAll(/^([a-z_]+):/gm)].map(([, name]) => name);
  assert.deepEqual(names, [
    "server_name",
    "pid_file",
    "listeners",
    "database",
    "log_config",
    "media_store_path",
    "registration_shared_secret",
    "report_stats",
    "macaroon_secret_key",
    "form_secret",
    "signing_key_path",
    "trusted_key_servers",
  ]);
  const { config, warnings } = await loadConfig({ paths: [`${folder.path}/homeserver.yaml`] });
  assert.deepEqual(warnings, []);
  assert.equal(config.serverName, "example.org");
  assert.equal(config.metrics.reportStats, true);
  assert.equal(config.registration.registrationSharedSecret?.length, 50);
  assert.equal(config.api.macaroonSecretKey?.length, 50);
  assert.notEqual(config.api.macaroonSecretKey, config.registration.registrationSharedSecret);
  assert.equal(config.database.path, `${folder.path}/homeserver.db`);
  assert.equal(config.media.mediaStorePath, `${folder.path}/media_store`);
  const [listener] = config.listeners;
  assert.equal(listener?.port, 8008);
  assert.equal(listener?.xForwarded, true);
  assert.deepEqual(listener?.bindAddresses, ["::1", "127.0.0.1"]);
  assert.deepEqual(listener?.resources, [{ names: ["client", "federation"], compress: false }]);
});

Deno.test("generate-config never overwrites, and makes only what is missing", async () => {
  await using folder = await commandFolder();
  await folder.run(GENERATE);
  const config = await folder.read("homeserver.yaml");
  const log = await folder.read("example.org.log.config");
  await Deno.remove(`${folder.path}/example.org.signing.key`);
  const second = await folder.run(["generate-config", "--server-name", "other.org"]);
  assert.equal(second.code, 0);
  assert.equal(
    second.stdout,
    "Config file 'homeserver.yaml' already exists. Generating any missing config files.\n" +
      `Generating signing key file ${folder.path}/example.org.signing.key\n`,
  );
  assert.equal(await folder.read("homeserver.yaml"), config);
  assert.equal(await folder.read("example.org.log.config"), log);
  const key = await folder.read("example.org.signing.key");
  await folder.run(GENERATE);
  assert.equal(await folder.read("example.org.signing.key"), key);
});

Deno.test("--generate-config and --generate-keys work as Synapse spells them", async () => {
  await using folder = await commandFolder();
  const generated = await folder.run([
    "--generate-config",
    "-H",
    "my.example:8448",
    "-c",
    "conf/hs.yaml",
    "--report-stats=no",
    "--data-directory",
    "data",
    "--open-private-ports",
    "--enable-metrics",
    "--no-secrets-in-config",
  ]);
  assert.equal(generated.code, 0, generated.stderr);
  const { config } = await loadConfig({ paths: [`${folder.path}/conf/hs.yaml`] });
  assert.deepEqual(config.listeners.map(({ port, type, bindAddresses }) => ({ port, type, bindAddresses })), [
    { port: 8048, type: "http", bindAddresses: ["::", "0.0.0.0"] },
    { port: 19090, type: "metrics", bindAddresses: ["::", "0.0.0.0"] },
  ]);
  assert.equal(config.metrics.enableMetrics, true);
  assert.equal(config.registration.registrationSharedSecret?.length, 50);
  assert.equal(await folder.mode("conf/my.example:8448.registration_shared_secret"), 0o640);
  await Deno.remove(`${folder.path}/conf/my.example:8448.signing.key`);
  const keys = await folder.run(["--generate-keys", "-c", "conf/hs.yaml"]);
  assert.deepEqual(keys, {
    code: 0,
    stdout: `Generating signing key file ${folder.path}/conf/my.example:8448.signing.key\n`,
    stderr: "",
  });
});

Deno.test("generate-config refuses a bad server name with the reason and writes nothing", async () => {
  await using folder = await commandFolder();
  const reasons: readonly (readonly [string, RegExp])[] = [
    ["https://example.org", /it is a URL; leave out "https:\/\/"/],
    ["example.org/chat", /it has a slash/],
    ["@me:example.org", /it has an "@"/],
    ["exa mple", /it has a space/],
    ["exämple.org", /it may only be letters, digits/],
    ["Example.org", /it has capital letters/],
    ["example.org:99999", /it may only be letters, digits/],
    ["", /it is empty/],
    ["a".repeat(231), /longer than 230 bytes/],
  ];
  for (const [name, reason] of reasons) {
    const { code, stdout, stderr } = await folder.run(["generate-config", "--server-name", name]);
    assert.equal(code, 2, name);
    assert.equal(stdout, "");
    assert.match(stderr, reason);
    assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
  }
  assert.deepEqual(await folder.list(), []);
});

Deno.test("generate-config says when it cannot write", async () => {
  await using folder = await commandFolder();
  await folder.write("file", "");
  const { code, stderr } = await folder.run([...GENERATE, "-c", "file/homeserver.yaml"]);
  assert.equal(code, 1);
  assert.match(stderr, /^Cannot .*file.*\n$/);
});
