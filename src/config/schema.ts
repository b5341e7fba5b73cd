/**
 * The small validator behind the table of options.
 *
 * A `Schema` reads one value as YAML gives it and returns it typed, or throws `Mismatch`, which the option around it
 * turns into a problem with file, line and name. An `Option` is a schema with its default (in YAML form, as the manual
 * shows it), what it does, and whether it has an effect. Keys become camelCase in types and at run time by the same rule,
 * so the table is the only place where an option is named. To add one, add a line to the table of its section.
 */
import { parseDuration } from "../lib/duration.ts";
import { parseSize } from "../lib/size.ts";

/** Where a value stands: option names and list positions from the top. */
export type OptionPath = readonly (string | number)[];

/** Collects what is wrong with a configuration. */
export interface Report {
  problem(path: OptionPath, message: string): void;
  warning(path: OptionPath, message: string): void;
}

/** The place being read, and where to report about it. */
export interface At {
  readonly path: OptionPath;
  readonly report: Report;
}

/** Reads values of one kind. */
export interface Schema<T> {
  /** The kind in a word, for the manual. */
  readonly kind: string;
  /** What is allowed, to follow "must be". */
  readonly expects: string;
  /** Whether the value must not appear in messages. */
  readonly secret?: boolean;
  /** Options of an object, or of the items of a list. */
  readonly options?: Options;
  read(value: unknown, at: At): T;
}

/** Whether setting an option does anything. */
export type Effect =
  | { readonly status: "works" }
  | { readonly status: "not yet" }
  | { readonly status: "accepted, no effect"; readonly because: string };

/** What an option does, its effect, and the version that first knew it. */
export interface About {
  readonly doc: string;
  readonly effect: Effect;
  readonly since: string;
}

/** One option of the table. */
export interface Option<T> {
  readonly schema: Schema<T>;
  /** The default in YAML form; `undefined` where the option must be given. */
  readonly fallback: unknown;
  /** A part of an object follows the object in this. */
  readonly about: About;
}

/** A table of options by name. */
export type Options = { readonly [name: string]: Option<unknown> };

/** A snake_case name in camelCase. */
export type Camel<S extends string> = S extends `${infer A}_${infer B}` ? `${A}${Capitalize<Camel<B>>}` : S;

/** The values of a table of options, typed and named in camelCase. */
export type Values<O extends Options> = {
  readonly [K in keyof O & string as Camel<K>]: O[K] extends Option<infer T> ? T : never;
};

/** Thrown by `read` when a value is not what the schema allows. */
export class Mismatch extends Error {
  readonly path: OptionPath;
  constructor(path: OptionPath, message: string) {
    super(message);
    this.path = path;
  }
}

const FIRST_VERSION = "0.1.0";
const PART: About = { doc: "", effect: { status: "works" }, since: FIRST_VERSION };

/** Declares an option with its default in YAML form. */
export function option<T>(schema: Schema<T>, fallback: unknown, { doc, effect, since }: About = PART): Option<T> {
  return { schema, fallback, about: { doc, effect, since } };
}

/** Declares an option that must be given. */
export function required<T>(schema: Schema<T>, about: About = PART): Option<T> {
  return { schema, fallback: undefined, about };
}

/** Describes an option that does what it says. */
export function works(doc: string, { since = FIRST_VERSION }: { since?: string } = {}): About {
  return { doc, effect: { status: "works" }, since };
}

/** Describes an option that is checked and will have an effect in a later version. */
export function notYet(doc: string): About {
  return { doc, effect: { status: "not yet" }, since: FIRST_VERSION };
}

/** Describes an option that is checked and deliberately changes nothing. */
export function noEffect(doc: string, because: string): About {
  return { doc, effect: { status: "accepted, no effect", because }, since: FIRST_VERSION };
}

/** Returns `name` in camelCase, by the rule of the type `Camel`. */
export function toCamel(name: string): string {
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** Says what a value is without quoting long ones. */
export function describeValue(value: unknown, { secret = false }: { secret?: boolean } = {}): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
  if (typeof value === "object") return "a map";
  const kind = typeof value === "number" ? (Number.isInteger(value) ? "integer" : "number") : typeof value;
  if (secret) return kind === "integer" ? "an integer" : `a ${kind}`;
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return `the ${kind} ${text.length > 60 ? `${text.slice(0, 57)}…` : text}`;
}

function simple<T>(names: Pick<Schema<T>, "kind" | "expects">, accept: (value: unknown) => T | undefined): Schema<T> {
  const schema: Schema<T> = { ...names, read: (value, at) => accept(value) ?? mismatch(schema, { value, at }) };
  return schema;
}

function mismatch(schema: Schema<unknown>, { value, at }: { value: unknown; at: At }): never {
  throw new Mismatch(at.path, `is ${describeValue(value, schema)} but must be ${schema.expects}`);
}

/** Any string. */
export const string: Schema<string> = simple(
  { kind: "string", expects: "a string" },
  (v) => typeof v === "string" ? v : undefined,
);

/** A string that is never quoted in messages. */
export const secret: Schema<string> = {
  kind: "string",
  expects: "a string",
  secret: true,
  read: (value, at) => typeof value === "string" ? value : mismatch(secret, { value, at }),
};

/** `true` or `false`. */
export const boolean: Schema<boolean> = simple(
  { kind: "boolean", expects: "true or false" },
  (v) => typeof v === "boolean" ? v : undefined,
);

/** Any finite number that is not negative. */
export const number: Schema<number> = simple(
  { kind: "number", expects: "a number of 0 or more" },
  (v) => typeof v === "number" && Number.isFinite(v) && v >= 0 ? v : undefined,
);

/** Milliseconds, from an integer or `30s`, `5m`, `1h`, `7d`, `2w`, `1y`. */
export const duration: Schema<number> = simple({
  kind: "duration",
  expects: 'a duration such as "30s", "5m", "1h", "7d" or "1y", or an integer of milliseconds',
}, (v) => parseDuration(v) ?? undefined);

/** A number, from an integer or `10K`, `50M`, `1G`. */
export const size: Schema<number> = simple(
  { kind: "size", expects: 'a size such as "50M" or "87K", or an integer' },
  (v) => parseSize(v) ?? undefined,
);

/** Anything YAML can say, unchanged. */
export const anything: Schema<unknown> = { kind: "any", expects: "any value", read: (value) => value };

/** An integer within bounds. */
export function integer({ min = 0, max = Number.MAX_SAFE_INTEGER }: { min?: number; max?: number } = {}): Schema<
  number
> {
  const upper = max === Number.MAX_SAFE_INTEGER ? "" : ` and at most ${max}`;
  return simple(
    { kind: "integer", expects: `an integer of at least ${min}${upper}` },
    (v) => typeof v === "number" && Number.isSafeInteger(v) && v >= min && v <= max ? v : undefined,
  );
}

/** One of a few values. */
export function oneOf<const T extends string | boolean | number>(allowed: readonly T[]): Schema<T> {
  const names = allowed.map((value) => JSON.stringify(value));
  const expects = names.length === 1 ? `${names[0]}` : `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
  return simple({ kind: "choice", expects }, (v) => allowed.find((value) => value === v));
}

/** A string for which `check` returns null; otherwise `check` returns what is wrong with it. */
export function checked(expects: string, check: (value: string) => boolean): Schema<string> {
  return simple({ kind: "string", expects }, (v) => typeof v === "string" && check(v) ? v : undefined);
}

/** The schema's value, or null where YAML says `null` or nothing. */
export function nullable<T>(schema: Schema<T>): Schema<T | null> {
  return { ...schema, read: (value, at) => value === null || value === undefined ? null : schema.read(value, at) };
}

/** A list. */
export function list<T>(item: Schema<T>): Schema<readonly T[]> {
  const schema: Schema<readonly T[]> = {
    kind: "list",
    expects: "a list",
    ...(item.options === undefined ? {} : { options: item.options }),
    read(value, at) {
      if (!Array.isArray(value)) return mismatch(schema, { value, at });
      return value.map((entry, i) => item.read(entry, { path: [...at.path, i], report: at.report }));
    },
  };
  return schema;
}

/** A list, or one item standing for a list of one. */
export function listOrOne<T>(item: Schema<T>): Schema<readonly T[]> {
  const many = list(item);
  return { ...many, read: (value, at) => Array.isArray(value) ? many.read(value, at) : [item.read(value, at)] };
}

/** A map with keys that the operator chooses; they stay as written. */
export function record<T>(item: Schema<T>): Schema<Readonly<Record<string, T>>> {
  const schema: Schema<Readonly<Record<string, T>>> = {
    kind: "map",
    expects: "a map",
    ...(item.options === undefined ? {} : { options: item.options }),
    read(value, at) {
      if (!isMap(value)) return mismatch(schema, { value, at });
      const entries = Object.entries(value);
      return Object.fromEntries(
        entries.map(([key, entry]) => [key, item.read(entry, { path: [...at.path, key], report: at.report })]),
      );
    },
  };
  return schema;
}

/** A map with known keys; others are warned about. */
export function object<O extends Options>(options: O): Schema<Values<O>> {
  const schema: Schema<Values<O>> = {
    kind: "map",
    expects: "a map",
    options,
    read: (value, at) => isMap(value) ? readOptions(options, { value, at }) : mismatch(schema, { value, at }),
  };
  return schema;
}

/** The schema's value turned into another by `map`, which may throw `Mismatch`. */
export function mapped<T, U>(schema: Schema<T>, map: (value: T, at: At) => U): Schema<U> {
  return { ...schema, read: (value, at) => map(schema.read(value, at), at) };
}

/** Whether a value is a map of YAML. */
export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

/**
 * Reads a table of options from a map.
 *
 * Every option is read even after a problem, so that all problems are reported at once; the values are only usable when
 * none was. A key without a value counts as not set, unless the option gives `null` a meaning.
 */
export function readOptions<O extends Options>(
  options: O,
  { value, at }: { value: Readonly<Record<string, unknown>>; at: At },
): Values<O> {
  const values: Record<string, unknown> = {};
  for (const [name, entry] of Object.entries(options)) {
    values[toCamel(name)] = readOption(entry, { given: value[name], path: [...at.path, name], report: at.report });
  }
  for (const name of Object.keys(value)) {
    if (!Object.hasOwn(options, name)) {
      at.report.warning([...at.path, name], unknownKey(name, Object.keys(options)));
    }
  }
  return Object.freeze(values) as Values<O>;
}

function readOption<T>(
  { schema, fallback }: Option<T>,
  { given, path, report }: { given: unknown; path: OptionPath; report: Report },
): T | undefined {
  try {
    if (given === undefined && fallback === undefined) throw new Mismatch(path, "is missing");
    if (given === undefined) return schema.read(fallback, { path, report });
    if (given !== null || fallback === undefined) return schema.read(given, { path, report });
    return readNull(schema, { fallback, path, report });
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    report.problem(error.path, error.message);
    return undefined;
  }
}

function readNull<T>(
  schema: Schema<T>,
  { fallback, path, report }: { fallback: unknown; path: OptionPath; report: Report },
): T {
  try {
    return schema.read(null, { path, report });
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    return schema.read(fallback, { path, report });
  }
}

function unknownKey(name: string, known: readonly string[]): string {
  const nearest = nearestName(name, known);
  return nearest === null ? "is not an option" : `is not an option; did you mean "${nearest}"?`;
}

/** Returns the known name that differs from `name` in the fewest letters, or null when none is close. */
export function nearestName(name: string, known: readonly string[]): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(name, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  if (a.length > 100 || b.length > 100) return Infinity;
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substituted, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    previous = row;
  }
  return previous[b.length] ?? Infinity;
}
