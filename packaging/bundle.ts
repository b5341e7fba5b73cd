/**
 * Joins the program's modules, and what they use of packages, to a few files of JavaScript.
 *
 * The executable holds in memory all it carries, so it should carry what runs and nothing else: of zod and undici that is
 * less than half. One file also loads faster than a thousand. Names stay as they are, for stack traces.
 */
import { basename } from "node:path";
import { runProcess } from "../tests/harness/process.ts";

/** Stays a package, because it finds its WebAssembly beside itself. */
const IMAGE_LIBRARY = "wasm-vips";
/** Of that package; the modules for JPEG XL and SVG are not among them. */
const IMAGE_LIBRARY_FILES: readonly string[] = [
  "LICENSE",
  "THIRD-PARTY-NOTICES.md",
  "package.json",
  "lib/vips-heif.wasm",
  "lib/vips-node.mjs",
  "lib/vips.wasm",
];
const TIMERS = new URL("./node_timers.ts", import.meta.url).pathname;
const BUNDLER = new URL("../node_modules/.bin/esbuild", import.meta.url).pathname;
/** Packages of the older kind ask for modules of Node by `require`. */
const REQUIRE = 'import { createRequire as createRequireHere } from "node:module";' +
  "const require = createRequireHere(import.meta.url);";
const WORKER = /new Worker\(\s*new URL\("(\.[^"]+)\.ts",\s*import\.meta\.url\)/g;
/** A file that is a package of the older kind and nothing else. */
const OLDER_KIND = /^export default require_\w+\(\);$/m;
const WITH_NAMES = "(m) => Object.create(m.default, { default: { value: m.default } })";
const LIMIT_MS = 300_000;

/** Where sources are, with a `node_modules`, and the folder to be made. */
export interface BundleFolders {
  readonly source: string;
  readonly target: string;
}

/** Writes `main.js` and what it loads into `target`. Returns the modules that it starts as workers, which nothing imports. */
export async function bundle({ source, target }: BundleFolders): Promise<string[]> {
  const workers = await findWorkers(`${source}/src`);
  const shape = ["--bundle", "--splitting", "--format=esm", "--platform=node", "--target=esnext"];
  const output = [
    `--outdir=${target}`,
    "--entry-names=[name]",
    "--log-level=warning",
    `--banner:js=${REQUIRE}`,
    `--inject:${TIMERS}`,
  ];
  const { code, stdout, stderr } = await runProcess(BUNDLER, {
    args: ["main.ts", ...workers, ...shape, ...output, `--external:${IMAGE_LIBRARY}`],
    cwd: source,
    timeoutMs: LIMIT_MS,
  });
  if (code !== 0) throw new Error(`esbuild failed:\n${stdout}${stderr}`);
  const files = (await Array.fromAsync(Deno.readDir(target))).map(({ name }) => name);
  for (const name of files) await renameWorkers(`${target}/${name}`);
  await nameExports(target, files);
  await copyImageLibrary({ source, target });
  return workers.map((path) => basename(path, ".ts") + ".js");
}

/** Returns the modules that a source starts by `new Worker(new URL("./x.ts", import.meta.url))`. */
async function findWorkers(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) found.push(...await findWorkers(path));
    else if (name.endsWith(".ts")) {
      const source = await Deno.readTextFile(path);
      for (const match of source.matchAll(WORKER)) found.push(await Deno.realPath(`${folder}/${match[1]}.ts`));
    }
  }
  return [...new Set(found)];
}

/** Makes a file start its workers from the JavaScript beside it. */
async function renameWorkers(path: string): Promise<void> {
  const text = await Deno.readTextFile(path);
  const renamed = text.replaceAll(
    WORKER,
    (_, module: string) => `new Worker(new URL("./${basename(module)}.js", import.meta.url)`,
  );
  if (renamed !== text) await Deno.writeTextFile(path, renamed);
}

/**
 * Lets modules that are loaded later have the names of a package of the older kind. The bundler gives such a package as a
 * default export alone, where Deno gives its names too. They are inherited, so that none is read before somebody asks.
 */
async function nameExports(folder: string, files: readonly string[]): Promise<void> {
  const texts = new Map<string, string>();
  for (const name of files) if (name.endsWith(".js")) texts.set(name, await Deno.readTextFile(`${folder}/${name}`));
  const older = [...texts].filter(([, text]) => OLDER_KIND.test(text)).map(([name]) => name);
  for (const [name, text] of texts) {
    let renamed = text;
    for (const module of older) {
      renamed = renamed.replaceAll(`import("./${module}")`, `import("./${module}").then(${WITH_NAMES})`);
    }
    if (renamed !== text) await Deno.writeTextFile(`${folder}/${name}`, renamed);
  }
}

async function copyImageLibrary({ source, target }: BundleFolders): Promise<void> {
  const folder = `node_modules/${IMAGE_LIBRARY}`;
  await Deno.mkdir(`${target}/${folder}/lib`, { recursive: true });
  for (const file of IMAGE_LIBRARY_FILES) {
    await Deno.copyFile(`${source}/${folder}/${file}`, `${target}/${folder}/${file}`);
  }
  const { version } = JSON.parse(await Deno.readTextFile(`${source}/${folder}/package.json`));
  const manifest = { type: "module", dependencies: { [IMAGE_LIBRARY]: version } };
  await Deno.writeTextFile(`${target}/package.json`, JSON.stringify(manifest));
  await Deno.copyFile(`${source}/deno.json`, `${target}/deno.json`);
}
