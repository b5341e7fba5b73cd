/**
 * Reads one table in the order of its key, writes it, and computes what tells two copies apart.
 *
 * The texts of the statements are made once for each table and number of rows, because `sql.ts` knows a statement again
 * by the identity of its parts.
 */
import { createHash } from "node:crypto";
import type { CatalogTable } from "./catalog.ts";
import type { Db, Tx } from "./database.ts";
import { Sql, type SqlValue } from "./sql.ts";

/** A row by the names of its columns. */
export type Row = Readonly<Record<string, SqlValue>>;

/** What a copy must have like the original: the number of rows, and a sum that does not depend on their order. */
export interface TableSum {
  readonly rows: number;
  readonly sum: string;
}

/** The sum of an empty table. */
export const EMPTY_SUM: TableSum = { rows: 0, sum: "0" };

const MAX_PARAMETERS = 30_000;
const SUM_MODULUS = 1n << 64n;

/** Returns a sum with some rows added. */
export function addToSum(
  { rows, sum }: TableSum,
  { table: { columns }, added }: { table: CatalogTable; added: readonly Row[] },
): TableSum {
  let total = BigInt(sum);
  for (const row of added) {
    const digest = createHash("sha256").update(textOf(columns, row)).digest();
    total += digest.readBigUInt64BE(0);
  }
  return { rows: rows + added.length, sum: String(total % SUM_MODULUS) };
}

function textOf(columns: readonly string[], row: Row): string {
  return JSON.stringify(columns.map((column) => {
    const value = row[column] ?? null;
    return value instanceof Uint8Array ? { hex: value.toHex() } : value;
  }));
}

/** Statements on one table. */
export class TableStatements {
  readonly table: CatalogTable;
  readonly #first: Sql;
  readonly #afterStrings: readonly string[];
  readonly #insertStrings = new Map<number, readonly string[]>();

  constructor(table: CatalogTable) {
    if (table.key.length === 0) throw new Error(`The table ${table.name} has no primary key`);
    this.table = table;
    const [columns, key] = [table.columns.map(quote).join(", "), table.key.map(quote).join(", ")];
    const select = `SELECT ${columns} FROM ${quote(table.name)}`;
    this.#first = new Sql([`${select} ORDER BY ${key} LIMIT `, ""], [0]);
    this.#afterStrings = [
      `${select} WHERE (${key}) > (`,
      ...table.key.slice(1).map(() => ", "),
      `) ORDER BY ${key} LIMIT `,
      "",
    ];
  }

  /** The most rows that one `INSERT` may have. */
  get maxRows(): number {
    return Math.max(1, Math.floor(MAX_PARAMETERS / this.table.columns.length));
  }

  /** Returns the rows that follow a key; null is the start. */
  async read(db: Db, { after, limit }: { after: readonly SqlValue[] | null; limit: number }): Promise<Row[]> {
    const query = after === null
      ? new Sql(this.#first.strings, [limit])
      : new Sql(this.#afterStrings, [...after, limit]);
    return await db.all<Row>(query);
  }

  /** Returns the key of a row. */
  keyOf(row: Row): SqlValue[] {
    return this.table.key.map((column) => row[column] ?? null);
  }

  /** Adds rows. */
  async insert(tx: Tx, rows: readonly Row[]): Promise<void> {
    // SQLite gains nothing from many rows in a statement; PostgreSQL everything.
    const size = tx.dialect === "sqlite" ? 1 : this.maxRows;
    const statements: Sql[] = [];
    for (let start = 0; start < rows.length; start += size) {
      const some = rows.slice(start, start + size);
      const values = some.flatMap((row) => this.table.columns.map((column) => row[column] ?? null));
      statements.push(new Sql(this.#insertTexts(some.length), values));
    }
    await tx.runMany(statements);
  }

  #insertTexts(rows: number): readonly string[] {
    let strings = this.#insertStrings.get(rows);
    if (strings === undefined) {
      const columns = this.table.columns;
      const between = [...columns.slice(1).map(() => ", "), "), ("];
      const all = Array.from({ length: rows }, () => between).flat().slice(0, -1);
      strings = [`INSERT INTO ${quote(this.table.name)} (${columns.map(quote).join(", ")}) VALUES (`, ...all, ")"];
      this.#insertStrings.set(rows, strings);
    }
    return strings;
  }
}

/** Quotes a name of the schema. */
export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Counts the rows of a table and sums them up. */
export async function sumTable(
  db: Db,
  { statements, batch, onRows }: { statements: TableStatements; batch: number; onRows?: (rows: number) => void },
): Promise<TableSum> {
  let sum = EMPTY_SUM;
  let after: SqlValue[] | null = null;
  for (;;) {
    const rows: Row[] = await statements.read(db, { after, limit: batch });
    sum = addToSum(sum, { table: statements.table, added: rows });
    onRows?.(rows.length);
    const last = rows.at(-1);
    if (last === undefined || rows.length < batch) return sum;
    after = statements.keyOf(last);
  }
}
