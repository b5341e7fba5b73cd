/**
 * The layers of `src/` and the rule that a lower one never imports a higher one.
 *
 * To add a layer, give it a rank here and a line in docs/architecture.md.
 */

/** The rank of every layer, lowest first; layers of one rank may import each other. */
export const LAYER_RANKS: ReadonlyMap<string, number> = new Map([
  ["lib", 0],
  ["protocol", 1],
  ["config", 2],
  ["storage", 3],
  ["streams", 4],
  ["federation", 5],
  ["rooms", 6],
  ["services", 7],
  ["sync", 8],
  ["media", 8],
  ["workers", 9],
  ["http", 10],
  ["server", 11],
  ["server.ts", 11],
  ["cli", 12],
  ["main.ts", 13],
]);

/** Returns the part of a path below the project root (`src/…`, `main.ts`), or null for a file outside both. */
export function projectPath(filename: string): string | null {
  const path = filename.replaceAll("\\", "/");
  const at = path.lastIndexOf("/src/");
  if (at >= 0) return path.slice(at + 1);
  if (path.startsWith("src/")) return path;
  return path === "main.ts" || path.endsWith("/main.ts") ? "main.ts" : null;
}

/** Returns the layer of a project path: the folder or file directly below `src/`, or `main.ts`. */
export function layerOf(path: string): string | null {
  if (path === "main.ts") return path;
  const parts = path.split("/");
  return parts[0] === "src" && parts[1] !== undefined ? parts[1] : null;
}

/** Resolves a relative import against the importing project path; null when it leaves the project or is a package. */
export function resolveImport(from: string, specifier: string): string | null {
  if (!specifier.startsWith("./") && !specifier.startsWith("../")) return null;
  const parts = from.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) return null;
  }
  return parts.join("/");
}

/** Returns why `from` may not import `specifier`, or null when it may. */
export function importProblem(from: string, specifier: string): string | null {
  const target = resolveImport(from, specifier);
  const own = layerOf(from);
  if (target === null || own === null) return null;
  if (/^(tests|bench)\//.test(target)) return `the product must not import "${target}"`;
  if (target.startsWith("migrations/") && own !== "storage") return `only storage imports migrations, not "${own}"`;
  const layer = layerOf(target);
  if (layer === null) return null;
  const ownRank = LAYER_RANKS.get(own);
  const rank = LAYER_RANKS.get(layer);
  if (ownRank === undefined) return `"${own}" is not a layer: give it a rank in tests/lint/layers.ts`;
  if (rank === undefined) return `"${layer}" is not a layer: give it a rank in tests/lint/layers.ts`;
  return rank > ownRank ? `"${own}" is below "${layer}" and must not import it` : null;
}
