import assert from "node:assert/strict";
import { createEmptyDatabase, DIALECTS, type TestDatabase } from "../harness/databases.ts";
import { freePort } from "../harness/ports.ts";
import { type CommandFolder, commandFolder, programArgs } from "./command_line.ts";

const GUIDE = new URL("../../docs/install.md", import.meta.url);
const BLOCK_LIMIT_MS = 120_000;

/** The blocks that are not run, by their first line, and why. */
const NOT_RUN: Readonly<Record<string, string>> = {
  "git clone URL synapse-ts && cd synapse-ts": "compiles the executable, which tests/executable does",
  "make build deb": "needs root; tests/packages installs the package in a clean root",
  "make build docker": "needs Docker",
  "npm ci": "downloads packages; what runs this test was set up by it",
  "sudo -u postgres createuser --pwprompt synapse": "needs PostgreSQL's user; the test brings a database",
  "cat > conf.d/acme.yaml <<'END'": "needs a name that leads here; tests/operator/acme_test.ts",
  "sudo cp packaging/proxy/nginx.conf /etc/nginx/sites-available/matrix": "needs root; tests/operator/nginx_test.ts",
};

/** The block that has to fail, by its first line: the name of the test's server leads nowhere. */
const FAILS = "synapse-ts doctor -c homeserver.yaml -c conf.d";

/** What some blocks have to show, by their last line. */
const SHOWN: readonly (readonly [line: RegExp, output: RegExp])[] = [
  [/^synapse-ts config check/, /^Config parses OK!$/m],
  [/^synapse-ts config read listeners/, /"port":\d+/],
  [/\/health$/, /OK$/],
  [/^synapse-ts review-recent-signups/, /@alice:hs\.test[^]*@bob:hs\.test|@bob:hs\.test[^]*@alice:hs\.test/],
  [/\/key\/v2\/server$/, /"old_verify_keys":\{"ed25519:a_[^]*"verify_keys":\{"ed25519:a_/],
  [/\/profile\/@alice:hs\.test$/, /"displayname":"alice"/],
  [/\/federation\/v1\/version$/, /"name":"synapse-ts"/],
  [/\/\.well-known\/matrix\/server$/, /"base_url":"https:\/\/matrix\.hs\.test\/"[^]*"m\.server":"hs\.test:443"/],
  [/^synapse-ts doctor/, /^ok [^]*^fail /m],
];

interface Block {
  readonly kind: string;
  readonly text: string;
}

function readBlocks(guide: string): Block[] {
  return [...guide.matchAll(/^```(\w*)\n([^]*?)^```$/gm)].map(([, kind = "", text = ""]) => ({ kind, text }));
}

/** What stands in the guide, and what the test has in its place. */
function replacements({ options }: TestDatabase): (readonly [from: string | RegExp, to: string])[] {
  assert.ok("postgres" in options);
  const { host, port, user, password, database } = options.postgres.server;
  return [
    ["example.org", "hs.test"],
    [/\b8008\b/g, String(freePort())],
    [/\b8448\b/g, String(freePort())],
    ['"0.0.0.0"', '"127.0.0.1"'],
    ["host: localhost", `host: "${host}"`],
    ["port: 5432", `port: ${port}`],
    ["user: synapse", `user: "${user}"`],
    ["password: secret", `password: "${password}"`],
    ["dbname: synapse", `dbname: "${database}"`],
  ];
}

/** Makes a folder with the command `synapse-ts`, which runs the source tree. */
async function commandPath(): Promise<CommandFolder> {
  const bin = await commandFolder();
  const quoted = [Deno.execPath(), ...programArgs([])].map((word) => `'${word}'`).join(" ");
  await Deno.chmod(await bin.write("synapse-ts", `#!/bin/sh\nexec ${quoted} "$@"\n`), 0o755);
  return bin;
}

async function runBlock(text: string, { folder, bin }: { folder: CommandFolder; bin: CommandFolder }) {
  // Into files and not into pipes: a server in the background would hold those open.
  const script = `exec >output.txt 2>&1\n${text}`;
  const { code } = await new Deno.Command("sh", {
    args: ["-eu", "-c", script],
    cwd: folder.path,
    env: { NO_COLOR: "1", PATH: `${bin.path}:${Deno.env.get("PATH") ?? ""}`, no_proxy: "*" },
    stdin: "null",
    signal: AbortSignal.timeout(BLOCK_LIMIT_MS),
  }).output();
  const output = await folder.read("output.txt");
  await Deno.remove(`${folder.path}/output.txt`);
  return { code, output };
}

Deno.test("the installation guide says of each block whether it is run, and why not", async () => {
  const blocks = readBlocks(await Deno.readTextFile(GUIDE));
  assert.deepEqual([...new Set(blocks.map(({ kind }) => kind))].sort(), ["console", "sh"]);
  const left = blocks.filter(({ kind }) => kind === "console").map(({ text }) => text.split("\n")[0]);
  assert.deepEqual(left, Object.keys(NOT_RUN));
});

if (DIALECTS.length === 2) {
  Deno.test("every command of the installation guide works, in its order, from an empty folder", async () => {
    await using database = await createEmptyDatabase("postgres");
    await using folder = await commandFolder();
    await using bin = await commandPath();
    let guide = await Deno.readTextFile(GUIDE);
    for (const [from, to] of replacements(database)) {
      assert.notEqual(guide.search(from), -1, `${from} stands no longer in the guide`);
      guide = guide.replaceAll(from, to);
    }
    const unseen = new Set(SHOWN);
    try {
      for (const { kind, text } of readBlocks(guide)) {
        if (kind !== "sh") continue;
        const { code, output } = await runBlock(text, { folder, bin });
        assert.equal(code, text.startsWith(FAILS) ? 1 : 0, `${text}\n${output}`);
        const last = text.trimEnd().split("\n").at(-1)?.trim() ?? "";
        for (const shown of SHOWN) {
          if (!shown[0].test(last)) continue;
          assert.match(output, shown[1], `${text}\n${output}`);
          unseen.delete(shown);
        }
      }
    } finally {
      await folder.run(["synctl", "stop"]);
    }
    assert.deepEqual([...unseen], [], "the guide has no such block any more");
  });
}
