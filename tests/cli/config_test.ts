import assert from "node:assert/strict";
import { join } from "node:path";
import { manualText } from "../../src/config/manual.ts";
import { listOptions } from "../../src/config/options.ts";
import { freePort } from "../harness/ports.ts";
import { RunningProcess } from "../harness/process.ts";
import { commandFolder, programArgs } from "./command_line.ts";

const FIXTURES = new URL("../fixtures/config/", import.meta.url).pathname;

Deno.test("docs/configuration.md is what `make docs` writes", async () => {
  const text = await Deno.readTextFile(new URL("../../docs/configuration.md", import.meta.url));
  assert.ok(text === manualText(), "docs/configuration.md is out of date: run `make docs`");
});

Deno.test("the manual has every option of the example and every part of every option", async () => {
  const text = manualText();
  for (const { name, parts } of listOptions()) {
    assert.ok(text.includes(`### \`${name}\`\n`), name);
    for (const part of parts) assert.ok(text.includes(`- \`${part.name}\`: `), `${name}.${part.name}`);
  }
  const example = await Deno.readTextFile(new URL("../../homeserver.example.yaml", import.meta.url));
  for (const [, name] of example.matchAll(/^(\w+):/gm)) assert.ok(text.includes(`### \`${name}\`\n`), name);
});

Deno.test("every secret can be in a file of its own", () => {
  const withoutFile = listOptions().flatMap(({ name, isSecret, parts, effect }) => {
    if (effect.status === "accepted, no effect") return [];
    const names = new Set([
      ...listOptions().map((option) => option.name),
      ...parts.map((part) => `${name}.${part.name}`),
    ]);
    const secrets = [{ name, isSecret }, ...parts.map((part) => ({ ...part, name: `${name}.${part.name}` }))];
    return secrets.filter((secret) => secret.isSecret).map((secret) => secret.name)
      .filter((secret) => !names.has(`${secret}_path`) && !names.has(`${secret}_file`));
  });
  assert.deepEqual(withoutFile, []);
});

Deno.test("config check says that it is right, or everything that is wrong", async () => {
  await using folder = await commandFolder();
  await folder.write("right.yaml", "server_name: example.org\nreport_stats: false\n");
  assert.deepEqual(await folder.run(["config", "check", "-c", "right.yaml"]), {
    code: 0,
    stdout: "Config parses OK!\n",
    stderr: "",
  });
  await folder.write("wrong.yaml", "server_name: https://example.org\nlisteners: 8008\nmax_upload_size: big\n");
  const wrong = await folder.run(["config", "check", "-c", "wrong.yaml"]);
  assert.equal(wrong.code, 1);
  assert.equal(wrong.stdout, "");
  assert.match(wrong.stderr, /wrong\.yaml:2:1: option "listeners"/);
  assert.match(wrong.stderr, /wrong\.yaml:3:1: option "max_upload_size"/);
});

Deno.test("config read shows options, their parts and their defaults", async () => {
  await using folder = await commandFolder();
  await folder.write(
    "hs.yaml",
    "server_name: example.org\nrc_message: { per_second: 7 }\nturn_shared_secret_path: turn\nuse_presence: false\n",
  );
  await folder.write("turn", "s3cret\n");
  const read = async (key: string) => await folder.run(["config", "read", key, "-c", "hs.yaml"]);
  const values: readonly (readonly [string, string])[] = [
    ["server_name", "example.org"],
    ["server.server_name", "example.org"],
    ["rc_message", '{"per_second":7,"burst_count":3}'],
    ["rc_message.per_second", "7"],
    ["max_upload_size", "50M"],
    ["presence.enabled", "false"],
    ["presence.idle_timeout", "5m"],
    ["turn_shared_secret", "s3cret"],
  ];
  for (const [key, value] of values) {
    const { code, stdout } = await read(key);
    assert.equal(stdout, `Config parses OK!\n\n${key}: ${value}\n`);
    assert.equal(code, 0);
  }
  const missing = await read("no_such_thing");
  assert.equal(missing.code, 1);
  assert.equal(
    missing.stdout,
    "Config parses OK!\n\nNo 'no_such_thing' key could be found in the provided configuration file.\n",
  );
});

Deno.test("secrets are read from files within maps and lists, and not from two places", async () => {
  await using folder = await commandFolder();
  await folder.write("pass", "mail-secret\n");
  await folder.write("oidc", "oidc-secret\n");
  const text = `server_name: example.org
email: { notif_from: "a@example.org", smtp_pass_path: pass }
oidc_providers:
  - { idp_id: one, idp_name: One, issuer: "https://a.example/", client_id: x, client_secret_path: oidc }
database: { name: psycopg2, args: { host: localhost, password_path: database } }
media_storage_providers:
  - { module: s3_storage_provider.S3StorageProviderBackend, config: { bucket: b, secret_access_key_path: s3 } }
`;
  await folder.write("database", "database-secret\n");
  await folder.write("s3", "s3-secret\n");
  await folder.write("hs.yaml", text);
  const secrets = [
    ["email.smtp_pass", "mail-secret"],
    ["oidc_providers.0.client_secret", "oidc-secret"],
    ["database.args.password", "database-secret"],
    ["media_storage_providers.0.config.secret_access_key", "s3-secret"],
  ];
  for (const [key, value] of secrets) {
    const { stdout, stderr } = await folder.run(["config", "read", String(key), "-c", "hs.yaml"]);
    assert.match(stdout, new RegExp(`\n${key}: ${value}\n$`), stderr);
  }
  await folder.write("twice.yaml", text.replace("smtp_pass_path", "smtp_pass: hush, smtp_pass_path"));
  const { code, stderr } = await folder.run(["config", "check", "-c", "twice.yaml"]);
  assert.equal(code, 1);
  assert.match(stderr, /"email\.smtp_pass" and "email\.smtp_pass_path" are both set/);
  assert.doesNotMatch(stderr, /hush/);
});

Deno.test("a configuration that Synapse wrote, with conf.d and log config, starts this server", async () => {
  await using folder = await commandFolder();
  const port = freePort();
  for (const name of ["homeserver.yaml", "example.org.log.config", "example.org.signing.key"]) {
    const text = await Deno.readTextFile(join(FIXTURES, "synapse", name));
    await folder.write(name, text.replaceAll("/srv/synapse", folder.path));
  }
  await Deno.mkdir(join(folder.path, "conf.d"));
  await folder.write(
    "conf.d/port.yaml",
    `listeners: [{ port: ${port}, bind_addresses: [127.0.0.1], type: http, resources: [{ names: [client] }] }]\n`,
  );
  const args = programArgs(["-c", "homeserver.yaml", "-c", "conf.d"]);
  await using server = new RunningProcess(Deno.execPath(), { args, cwd: folder.path, env: { NO_COLOR: "1" } });
  await server.waitFor(/serves example\.org on/);
  const answer = await fetch(`http://127.0.0.1:${port}/_matrix/client/versions`);
  assert.equal(answer.status, 200);
  await answer.body?.cancel();
  assert.equal(await server.stop(), 0, server.stderr);
  assert.equal(server.stderr, "");
  assert.match(await folder.read("homeserver.log"), / - synapse\.app - \d+ - INFO - - - Server started/);
});
