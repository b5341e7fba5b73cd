/**
 * The `sql` template: SQL text with every value bound, one text for SQLite and PostgreSQL.
 *
 * Templates nest. Values are never part of the text, so the text is constant and prepared statements are reused.
 * Where the dialects must differ, a fragment made by `perDialect` (or a helper below) holds one text for each.
 *
 * Rendering is on the hot path: the text for a template and the templates nested in it is built once per dialect and
 * found again by walking a trie of their `strings` arrays, which the language keeps unique per template literal. Hence
 * `sql` must be called as a template tag, with the literal written in the source.
 */
export type Dialect = "sqlite" | "postgres";

/** What can be bound. Booleans become 0/1 on SQLite. */
export type SqlValue = null | string | number | bigint | boolean | Uint8Array;

/** A list bound as one value: JSON text on SQLite, an array on PostgreSQL. Made by `inList`, `numberTable` and the like. */
export class SqlList {
  readonly items: readonly (string | number | boolean | null)[];

  constructor(items: readonly (string | number | boolean | null)[]) {
    this.items = items;
  }
}

/** What a template may hold: a value to bind, or SQL to splice in. */
export type SqlPart = SqlValue | SqlList | Sql;

/** A piece of SQL. Made by `sql` and the helpers of this file, never by hand. */
export class Sql {
  readonly strings: readonly string[];
  readonly values: readonly SqlPart[];

  constructor(strings: readonly string[], values: readonly SqlPart[]) {
    this.strings = strings;
    this.values = values;
  }
}

class DialectSql extends Sql {
  readonly sqlite: Sql;
  readonly postgres: Sql;

  constructor(sqlite: Sql, postgres: Sql) {
    super([], []);
    this.sqlite = sqlite;
    this.postgres = postgres;
  }
}

/** Text with placeholders, and the values for them in order. */
export interface RenderedSql {
  readonly text: string;
  readonly values: (SqlValue | SqlList)[];
}

/** Makes SQL from a template; interpolated `Sql` is spliced in, anything else is bound. */
export function sql(strings: TemplateStringsArray, ...values: readonly SqlPart[]): Sql {
  return new Sql(strings, values);
}

class PlannedSql extends DialectSql {}

/**
 * As `perDialect`, for what PostgreSQL must plan for its values each time: where the best way depends on how common a
 * word is, or on a LIMIT, the plan that it keeps for any values is a bad one.
 */
export function plannedPerDialect({ sqlite, postgres }: { sqlite: Sql; postgres: Sql }): Sql {
  return new PlannedSql(sqlite, postgres);
}

/** Tells whether a query was made by `plannedPerDialect`. */
export function isPlannedEachTime(query: Sql): boolean {
  return query instanceof PlannedSql;
}

/** Picks a text by dialect. Both must mean the same. */
export function perDialect({ sqlite, postgres }: { sqlite: Sql; postgres: Sql }): Sql {
  return new DialectSql(sqlite, postgres);
}

/** Tells that `column` is one of `items`: one bound value whatever their number, so the text stays constant. */
export function inList(column: Sql, items: readonly string[] | readonly number[]): Sql {
  const list = new SqlList(items);
  return new DialectSql(
    sql`${column} IN (SELECT value FROM json_each(${list}))`,
    sql`${column} = ANY(${list})`,
  );
}

/**
 * A table of the numbers `items`, for `FROM`, with one column named `value`. Joining from it looks each of them up by
 * index, where `inList` leaves the order to the planner.
 */
export function numberTable(items: readonly number[]): Sql {
  const list = new SqlList(items);
  return new DialectSql(
    sql`(SELECT value FROM json_each(${list}))`,
    sql`(SELECT unnest(${list}::BIGINT[]) AS value)`,
  );
}

/** A table of the strings `items`, for `FROM`, with one column named `value`. */
export function textTable(items: readonly string[]): Sql {
  const list = new SqlList(items);
  return new DialectSql(
    sql`(SELECT value FROM json_each(${list}))`,
    sql`(SELECT unnest(${list}::TEXT[]) AS value)`,
  );
}

/** A table of pairs of numbers, for `FROM`, with the columns `first` and `second`. */
export function pairTable(pairs: readonly (readonly [first: number, second: number])[]): Sql {
  const [first, second] = [pairs.map(([value]) => value), pairs.map(([, value]) => value)];
  return new DialectSql(
    sql`(SELECT value ->> 0 AS first, value ->> 1 AS second FROM json_each(${JSON.stringify(pairs)}))`,
    sql`(SELECT * FROM unnest(${new SqlList(first)}::BIGINT[], ${new SqlList(
      second,
    )}::BIGINT[]) AS pairs(first, second))`,
  );
}

/** Locks the selected rows until the transaction ends; nothing on SQLite, whose writers run one at a time. */
export function lockRow(): Sql {
  return LOCK_ROW;
}

/** As `lockRow`, leaving out the rows that another transaction has locked. */
export function lockFreeRows(): Sql {
  return LOCK_FREE_ROWS;
}

/** Splices in text that is a constant of the program, such as a table name from a fixed list. */
export function raw(text: string): Sql {
  let made = rawTexts.get(text);
  if (made === undefined) {
    if (rawTexts.size >= MAX_RAW_TEXTS) throw new Error("raw() is for constant texts only");
    made = new Sql([text], []);
    rawTexts.set(text, made);
  }
  return made;
}

const MAX_RAW_TEXTS = 1000;
const rawTexts = new Map<string, Sql>();
const LOCK_ROW = new DialectSql(sql``, sql`FOR UPDATE`);
const LOCK_FREE_ROWS = new DialectSql(sql``, sql`FOR UPDATE SKIP LOCKED`);

/**
 * Where rendering stands after a sequence of templates. `next[n]` are the templates that may be spliced in when `n`
 * values have been bound since the start; together with the number of slots in each, that tells nestings apart.
 */
interface Shape {
  readonly next: (Map<readonly string[], Shape> | undefined)[];
  text: string | null;
}

const roots: { readonly [D in Dialect]: Map<readonly string[], Shape> } = { sqlite: new Map(), postgres: new Map() };

/** Renders `query`; the text is cached by the templates it is made of. */
export function renderSql(query: Sql, dialect: Dialect): RenderedSql {
  const top = pick(query, dialect);
  const values: (SqlValue | SqlList)[] = [];
  let shape = child(roots[dialect], top.strings);
  shape = collect({ part: top, dialect, shape, values });
  shape.text ??= buildText(top, { dialect, count: { bound: 0 } });
  return { text: shape.text, values };
}

function pick(query: Sql, dialect: Dialect): Sql {
  let picked = query;
  while (picked instanceof DialectSql) picked = dialect === "sqlite" ? picked.sqlite : picked.postgres;
  return picked;
}

function child(shapes: Map<readonly string[], Shape>, strings: readonly string[]): Shape {
  let shape = shapes.get(strings);
  if (shape === undefined) {
    shape = { next: [], text: null };
    shapes.set(strings, shape);
  }
  return shape;
}

interface Walk {
  readonly part: Sql;
  readonly dialect: Dialect;
  readonly shape: Shape;
  readonly values: (SqlValue | SqlList)[];
}

function collect({ part, dialect, shape, values }: Walk): Shape {
  const slots = part.values;
  let at = shape;
  for (let index = 0; index < slots.length; index++) {
    const value = slots[index] as SqlPart;
    if (value instanceof Sql) {
      const nested = pick(value, dialect);
      const next = at.next[values.length] ??= new Map();
      at = collect({ part: nested, dialect, shape: child(next, nested.strings), values });
    } else {
      values.push(value);
    }
  }
  return at;
}

function buildText(query: Sql, { dialect, count }: { dialect: Dialect; count: { bound: number } }): string {
  let text = query.strings[0] ?? "";
  for (const [index, value] of query.values.entries()) {
    if (value instanceof Sql) {
      text += buildText(pick(value, dialect), { dialect, count });
    } else {
      count.bound++;
      text += dialect === "sqlite" ? "?" : `$${count.bound}`;
    }
    text += query.strings[index + 1] ?? "";
  }
  return text;
}
