/** Which tables a database has, as it says itself: for what works on all of them. */
import type { Db } from "./database.ts";
import { sql } from "./sql.ts";

/** A table with its columns in order, and those of its key. */
export interface CatalogTable {
  readonly name: string;
  readonly columns: readonly string[];
  readonly key: readonly string[];
}

/** Tables about the schema itself. */
const ABOUT_SCHEMA: ReadonlySet<string> = new Set(["schema_migrations", "port_progress"]);
/** What is made anew from the rest by the server: the dialects keep it in different forms. */
const DERIVED = /^search_(?:documents|index(?:_\w+)?)$/;

/** Lists the tables that hold what cannot be made anew, by name. */
export async function listTables(db: Db): Promise<CatalogTable[]> {
  const rows = db.dialect === "sqlite" ? await sqliteColumns(db) : await postgresColumns(db);
  const tables = new Map<string, { columns: string[]; key: (readonly [number, string])[] }>();
  for (const { table_name: name, column_name: column, key_position: position } of rows) {
    if (ABOUT_SCHEMA.has(name) || DERIVED.test(name)) continue;
    const table = tables.get(name) ?? { columns: [], key: [] };
    tables.set(name, table);
    table.columns.push(column);
    if (position > 0) table.key.push([position, column]);
  }
  return [...tables].map(([name, { columns, key }]) => ({
    name,
    columns,
    key: key.sort(([a], [b]) => a - b).map(([, column]) => column),
  })).sort((a, b) => a.name < b.name ? -1 : 1);
}

interface ColumnRow {
  table_name: string;
  column_name: string;
  /** Counts from 1; 0 for a column that is no part of the key. */
  key_position: number;
}

async function sqliteColumns(db: Db): Promise<ColumnRow[]> {
  return await db.all<ColumnRow>(sql`
    SELECT tables.name AS table_name, columns.name AS column_name, columns.pk AS key_position
    FROM sqlite_master AS tables JOIN pragma_table_info(tables.name) AS columns
    WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite!_%' ESCAPE '!'
    ORDER BY tables.name, columns.cid`);
}

async function postgresColumns(db: Db): Promise<ColumnRow[]> {
  return await db.all<ColumnRow>(sql`
    SELECT tables.relname::TEXT AS table_name, columns.attname::TEXT AS column_name,
      COALESCE(array_position(keys.indkey::INT[], columns.attnum::INT) + 1, 0) AS key_position
    FROM pg_class AS tables
    JOIN pg_attribute AS columns ON columns.attrelid = tables.oid AND columns.attnum > 0 AND NOT columns.attisdropped
    LEFT JOIN pg_index AS keys ON keys.indrelid = tables.oid AND keys.indisprimary
    WHERE tables.relkind IN ('r', 'p') AND tables.relnamespace = current_schema()::regnamespace
    ORDER BY tables.relname, columns.attnum`);
}
