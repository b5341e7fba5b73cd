import assert from "node:assert/strict";
import { bcryptVerify } from "hash-wasm";
import { parseSigningKeys } from "../../src/protocol/signatures.ts";
import { commandFolder } from "./command_line.ts";

const COMMANDS = [
  "generate-config",
  "serve",
  "register-user",
  "hash-password",
  "generate-signing-key",
  "export-signing-key",
  "generate-log-config",
  "config",
  "synctl",
  "update-database",
  "review-recent-signups",
  "export-data",
  "port-db",
  "backup",
  "restore",
  "doctor",
  "disk",
];

Deno.test("--help lists the commands, and each has its own", async () => {
  await using folder = await commandFolder();
  const { code, stdout } = await folder.run(["--help"]);
  assert.equal(code, 0);
  assert.equal((await folder.run([])).stdout, stdout);
  for (const command of COMMANDS) {
    assert.match(stdout, new RegExp(`^  ${command} `, "m"));
    const help = await folder.run([command, "--help"]);
    assert.equal(help.code, 0);
    assert.match(help.stdout, new RegExp(`^Usage: synapse-ts ${command} \\[OPTION…\\]`));
    assert.match(help.stdout, /-h, --help/);
    assert.equal(help.stderr, "");
  }
});

Deno.test("--version shows the version of package.json", async () => {
  await using folder = await commandFolder();
  const { version } = JSON.parse(await Deno.readTextFile(new URL("../../package.json", import.meta.url)));
  for (const spelling of ["--version", "version"]) {
    assert.deepEqual(await folder.run([spelling]), { code: 0, stdout: `synapse-ts ${version}\n`, stderr: "" });
  }
});

Deno.test("unknown commands and options are refused with the nearest name", async () => {
  await using folder = await commandFolder();
  assert.deepEqual(await folder.run(["hash-pasword"]), {
    code: 2,
    stdout: "",
    stderr: 'synapse-ts: there is no command "hash-pasword"; did you mean "hash-password"? See synapse-ts --help.\n',
  });
  assert.deepEqual(await folder.run(["xyzzy"]), {
    code: 2,
    stdout: "",
    stderr: 'synapse-ts: there is no command "xyzzy". See synapse-ts --help.\n',
  });
  assert.deepEqual(await folder.run(["generate-config", "--server-nam", "x"]), {
    code: 2,
    stdout: "",
    stderr: "synapse-ts: there is no option --server-nam; did you mean --server-name? See synapse-ts --help.\n",
  });
  const missing = await folder.run(["generate-config", "--server-name"]);
  assert.equal(missing.stderr, "synapse-ts: option --server-name needs a value. See synapse-ts --help.\n");
  const choice = await folder.run(["generate-config", "--report-stats=maybe"]);
  assert.match(choice.stderr, /option --report-stats is "maybe" but must be yes or no\./);
});

Deno.test("generate-signing-key and export-signing-key agree", async () => {
  await using folder = await commandFolder();
  const made = await folder.run(["generate_signing_key", "-o", "new.key"]);
  assert.deepEqual(made, { code: 0, stdout: "", stderr: "" });
  assert.equal(await folder.mode("new.key"), 0o640);
  assert.deepEqual(await folder.run(["generate-signing-key", "-o", "new.key"]), {
    code: 1,
    stdout: "",
    stderr: "new.key exists already\n",
  });
  const [key] = parseSigningKeys(await folder.read("new.key")) ?? [];
  const publicKey = key?.verifyKey.base64;
  assert.equal((await folder.run(["export-signing-key", "new.key"])).stdout, `${key?.keyId} ${publicKey}\n`);
  assert.equal(
    (await folder.run(["export_signing_key", "-x", "--expiry-ts", "123", "new.key"])).stdout,
    `  "${key?.keyId}": { key: "${publicKey}", expired_ts: 123 }\n`,
  );
  const soon = Date.now() + 6 * 3_600_000;
  const [, expiry] = /expired_ts: (\d+)/.exec((await folder.run(["export-signing-key", "-x", "new.key"])).stdout) ?? [];
  assert.ok(Math.abs(Number(expiry) - soon) < 60_000, expiry);
  await folder.write("not.key", "hello");
  assert.deepEqual(await folder.run(["export-signing-key", "not.key"]), {
    code: 1,
    stdout: "",
    stderr: "not.key is not a file with signing keys\n",
  });
});

Deno.test("export-signing-key gives the public key Synapse gives", async () => {
  await using folder = await commandFolder();
  await folder.write("known.key", "ed25519 a_test AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n");
  // RFC 8032's function of 32 zero bytes, as Synapse's export_signing_key prints it.
  assert.equal(
    (await folder.run(["export-signing-key", "known.key"])).stdout,
    "ed25519:a_test O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik\n",
  );
});

Deno.test("hash-password reads rounds from the configuration and the password from flag or input", async () => {
  await using folder = await commandFolder();
  await folder.write("hs.yaml", "bcrypt_rounds: 4\npassword_config: { pepper: pep }\n");
  const flag = await folder.run(["hash-password", "-c", "hs.yaml", "-p", "secret"]);
  assert.equal(flag.code, 0, flag.stderr);
  assert.match(flag.stdout, /^\$2b\$04\$[./A-Za-z0-9]{53}\n$/);
  const isHash = async (hash: string) => await bcryptVerify({ password: "secretpep", hash: hash.trim() });
  assert.equal(await isHash(flag.stdout), true);
  for (const args of [[], ["-p", ""]]) {
    const input = await folder.run(["hash_password", "-c", "hs.yaml", ...args], { stdin: "  secret\n" });
    assert.equal(await isHash(input.stdout), true);
  }
  const long = await folder.run(["hash-password", "-c", "hs.yaml", "-p", "a".repeat(80)]);
  assert.match(long.stdout, /^Password \+ pepper is too long \(83 bytes\); truncating to 72 bytes for bcrypt\./);
  const blank = await folder.run(["hash-password", "-c", "hs.yaml"], { stdin: "\n" });
  assert.deepEqual({ code: blank.code, stderr: blank.stderr }, { code: 1, stderr: "Password cannot be blank.\n" });
  const without = await folder.run(["hash-password", "-p", "x"]);
  assert.equal(without.code, 2);
  for (const args of [["-c", "none.yaml", "-p", "x"], ["-c", "hs.yaml", "-p", "x", "y"]]) {
    const { code, stdout } = await folder.run(["hash-password", ...args]);
    assert.deepEqual({ code, stdout }, { code: 2, stdout: "" });
  }
  await folder.write("bad.yaml", "bcrypt_rounds: twelve\n");
  assert.deepEqual(await folder.run(["hash-password", "-c", "bad.yaml", "-p", "x"]), {
    code: 1,
    stdout: "",
    stderr:
      'bad.yaml:1:1: option "bcrypt_rounds" is the string "twelve" but must be an integer of at least 4 and at most 31\n',
  });
});

Deno.test("generate-log-config writes what the server reads", async () => {
  await using folder = await commandFolder();
  const { stdout } = await folder.run(["generate-log-config", "-f", "/tmp/x.log"]);
  assert.match(stdout, /filename: "\/tmp\/x\.log"/);
});

Deno.test("serve without a usable configuration ends with one sentence", async () => {
  await using folder = await commandFolder();
  const cases: readonly (readonly [string, number, RegExp])[] = [
    ["a: [1,\nb: 2\n", 1, /^hs\.yaml:2:1: this is not valid YAML: .*\n$/],
    ["", 1, /^There are no options in hs\.yaml\n$/],
    [
      "server_name: example.org\nlisteners: 8008\n",
      1,
      /^hs\.yaml:2:1: option "listeners" is the integer 8008 but must be a list\n$/,
    ],
    ["server_name: bad name\n", 1, /^hs\.yaml:1:1: option "server_name" is not a valid server name: it has a space\n$/],
    ["report_stats: no\n", 1, /^hs\.yaml:1:1: option "server_name" is missing\n$/],
    [
      "server_name: x\nsigning_key: k\nenable_registration: yes\n",
      1,
      /^hs\.yaml:3:1: option "enable_registration" lets anyone register without verification.*\n$/,
    ],
  ];
  for (const [text, code, stderr] of cases) {
    await folder.write("hs.yaml", text);
    const result = await folder.run(["serve", "-c", "hs.yaml"]);
    assert.equal(result.code, code, result.stderr);
    assert.match(result.stderr, stderr);
  }
  const absent = await folder.run(["-c", "absent.yaml"]);
  assert.deepEqual(absent, {
    code: 1,
    stdout: "",
    stderr: "Cannot read the configuration absent.yaml: there is no such file or folder\n",
  });
  assert.equal((await folder.run(["serve"])).code, 2);
});
