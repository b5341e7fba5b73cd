/**
 * Configuration files: which ones, what is in them, and at which line an option stands.
 *
 * Files merge as in Synapse: by top-level key, the later file wins. YAML is read by the rules of PyYAML (YAML 1.1: `yes`
 * is true, `0660` is octal, `<<` merges), so that a file means here what it means there.
 */
import { join } from "node:path";
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type ScalarTag,
  type Tags,
  visit,
  type YAMLError,
} from "yaml";
import { firstLine, reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";
import type { OptionPath } from "./schema.ts";

const MAX_FILE_BYTES = 4 * 1024 * 1024;
const MAX_ALIASES = 1000;
const MAX_DEPTH = 64;
const PYYAML_TRUE = /^(?:yes|Yes|YES|true|True|TRUE|on|On|ON)$/;
const PYYAML_FALSE = /^(?:no|No|NO|false|False|FALSE|off|Off|OFF)$/;

/** One parsed file. */
export interface SourceFile {
  readonly path: string;
  readonly values: Readonly<Record<string, unknown>>;
  /** Returns `FILE:LINE:COLUMN` of the option, or of the part of its path that exists. */
  locate(path: OptionPath): string;
}

/** Returns the files that `paths` mean: a folder stands for its `*.yaml` files in order of name. */
export async function listConfigFiles(
  paths: readonly string[],
  warn: (message: string) => void,
): Promise<readonly string[]> {
  const files: string[] = [];
  for (const path of paths) {
    const info = await stat(path);
    if (!info.isDirectory) files.push(path);
    else files.push(...await listFolder(path, warn));
  }
  return files;
}

async function stat(path: string): Promise<Deno.FileInfo> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    throw new StartupError(`Cannot read the configuration ${path}: ${reasonOf(error)}`);
  }
}

async function listFolder(folder: string, warn: (message: string) => void): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    const path = join(folder, entry.name);
    const isFile = entry.isSymlink ? (await stat(path)).isFile : entry.isFile;
    if (!isFile) warn(`${path} is ignored: not a file`);
    else if (!entry.name.endsWith(".yaml")) warn(`${path} is ignored: its name does not end in .yaml`);
    else names.push(entry.name);
  }
  return names.sort().map((name) => join(folder, name));
}

/** Reads one file; null (with a warning) when it holds no map. */
export async function readConfigFile(path: string, warn: (message: string) => void): Promise<SourceFile | null> {
  let text: string;
  try {
    const info = await Deno.stat(path);
    if (info.size > MAX_FILE_BYTES) throw new StartupError(`${path} is larger than ${MAX_FILE_BYTES} bytes`);
    text = new TextDecoder("utf-8", { fatal: true }).decode(await Deno.readFile(path));
  } catch (error) {
    if (error instanceof StartupError) throw error;
    if (error instanceof TypeError) throw new StartupError(`${path}: this is not valid YAML: it is not UTF-8`);
    throw new StartupError(`Cannot read the configuration ${path}: ${reasonOf(error)}`);
  }
  const { document, lines, value } = parseYaml(text, path);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    warn(`${path} is ignored: ${value === null || value === undefined ? "it is empty" : "it is not a map of options"}`);
    return null;
  }
  for (const { name, offset } of listRepeatedKeys(document)) {
    const { line, col } = lines.linePos(offset);
    warn(`${path}:${line}:${col}: option "${name}" is given twice; the last counts`);
  }
  return {
    path,
    values: value as Record<string, unknown>,
    locate: (option) => `${path}:${lineAndColumn(document, { lines, option })}`,
  };
}

/** A YAML text with its values and the places they stand at. */
export interface ParsedYaml {
  readonly document: Document;
  readonly lines: LineCounter;
  readonly value: unknown;
}

/** Parses YAML as PyYAML would; throws `StartupError` with line and column for what is not YAML. */
export function parseYaml(text: string, path: string): ParsedYaml {
  const lines = new LineCounter();
  try {
    const document = parseDocument(text, {
      version: "1.1",
      schema: "yaml-1.1",
      customTags: asPyYaml,
      lineCounter: lines,
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: "error",
    });
    // A tag that is unknown is an error in PyYAML; the text would be taken for the value.
    const error = document.errors[0] ?? document.warnings.find(({ code }) => code === "TAG_RESOLVE_FAILED");
    if (error !== undefined) {
      const { line, col } = lines.linePos(error.pos[0]);
      throw new StartupError(`${path}:${line}:${col}: this is not valid YAML: ${explain(error)}`);
    }
    const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
    if (depthOf(value) > MAX_DEPTH) throw new StartupError(`${path}: values are nested more than ${MAX_DEPTH} deep`);
    return { document, lines, value };
  } catch (error) {
    if (error instanceof StartupError) throw error;
    if (error instanceof RangeError) throw new StartupError(`${path}: values are nested too deep`);
    throw new StartupError(`${path}: this is not valid YAML: ${firstLine(reasonOf(error))}`);
  }
}

function explain({ code, message }: YAMLError): string {
  if (code === "MULTIPLE_DOCS") return "there is more than one document";
  return /call stack/.test(message) ? "values are nested too deep" : firstLine(message);
}

/** YAML 1.1 without what PyYAML does not read as a special value either: `y` and `n`, and dates, which stay strings. */
function asPyYaml(tags: Tags): Tags {
  return tags.flatMap((tag): Tags => {
    if (typeof tag === "string") return [tag];
    if (tag.tag === "tag:yaml.org,2002:timestamp") return [];
    if (tag.tag !== "tag:yaml.org,2002:bool") return [tag];
    const scalar = tag as ScalarTag;
    return [{ ...scalar, test: scalar.test?.test("true") === true ? PYYAML_TRUE : PYYAML_FALSE }];
  });
}

function depthOf(value: unknown): number {
  let depth = 0;
  let level: unknown[] = [value];
  while (level.length > 0 && depth <= MAX_DEPTH) {
    level = level.flatMap((item) => typeof item === "object" && item !== null ? Object.values(item) : []);
    depth++;
  }
  return depth;
}

/** Returns the keys that stand in one map more than once, each where it is given again. */
function listRepeatedKeys(document: Document): { name: string; offset: number }[] {
  const repeated: { name: string; offset: number }[] = [];
  visit(document, {
    Map(_, { items }) {
      const seen = new Set<string>();
      for (const { key } of items) {
        const name = String(isScalar(key) ? key.value : key);
        if (seen.has(name) && name !== "<<") repeated.push({ name, offset: isNode(key) ? key.range?.[0] ?? 0 : 0 });
        seen.add(name);
      }
    },
  });
  return repeated;
}

function lineAndColumn(document: Document, { lines, option }: { lines: LineCounter; option: OptionPath }): string {
  let node: unknown = document.contents;
  let offset = 0;
  for (const part of option) {
    if (isAlias(node)) node = node.resolve(document);
    let next: unknown;
    if (isMap(node)) {
      const pair = node.items.findLast(({ key }) => (isScalar(key) ? key.value : key) === part);
      if (pair === undefined) break;
      if (isScalar(pair.key) && pair.key.range) offset = pair.key.range[0];
      next = pair.value;
    } else if (isSeq(node) && typeof part === "number") {
      next = node.items[part];
    }
    if (next === undefined || next === null) break;
    const range = (next as { range?: readonly number[] | null }).range;
    if (range?.[0] !== undefined && typeof part === "number") offset = range[0];
    node = next;
  }
  const { line, col } = lines.linePos(offset);
  return `${line}:${col}`;
}
