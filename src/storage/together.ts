/** Writing rows with few statements: on PostgreSQL each costs the server, and this one, more than what it does. */
import { raw, type Sql, sql, SqlList } from "./sql.ts";

/** A statement with this many rows stays well below a megabyte, but for events of unusual size. */
const ROWS_A_STATEMENT = 200;
/** Statements joined to one. What they are joined of is prepared for each combination, so there must be few. */
const MAX_JOINED = 8;

/** How rows of one kind are written. Both ways must do the same, and the rows must not depend on each other. */
export interface RowWriter<Row> {
  /** For SQLite, where a statement costs little, and for a row that is alone. */
  readonly each: (row: Row) => Sql;
  /** For PostgreSQL. */
  readonly many: (rows: readonly Row[]) => Sql;
}

/** Returns the few statements that write `rows` on PostgreSQL. */
export function statementsFor<Row>({ each, many }: RowWriter<Row>, rows: readonly Row[]): Sql[] {
  if (rows.length === 1) return rows.map(each);
  const statements: Sql[] = [];
  for (let start = 0; start < rows.length; start += ROWS_A_STATEMENT) {
    statements.push(many(rows.slice(start, start + ROWS_A_STATEMENT)));
  }
  return statements;
}

/** A column for `unnest` of PostgreSQL. */
export function bigints(values: readonly (number | null)[]): Sql {
  return sql`${new SqlList(values)}::BIGINT[]`;
}

/** A column for `unnest` of PostgreSQL. */
export function texts(values: readonly (string | null)[]): Sql {
  return sql`${new SqlList(values)}::TEXT[]`;
}

/** A column for `unnest` of PostgreSQL. */
export function booleans(values: readonly boolean[]): Sql {
  return sql`${new SqlList(values)}::BOOLEAN[]`;
}

/**
 * Joins statements that change different rows and return none, as PostgreSQL allows: all see the database as it was before
 * them. https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING
 */
export function joinStatements(statements: readonly Sql[]): Sql[] {
  const joined: Sql[] = [];
  for (let start = 0; start < statements.length; start += MAX_JOINED) {
    const [first, ...others] = statements.slice(start, start + MAX_JOINED);
    const last = others.pop();
    if (first === undefined) break;
    if (last === undefined) {
      joined.push(first);
      continue;
    }
    let parts = sql`WITH w0 AS (${first})`;
    for (const [index, part] of others.entries()) parts = sql`${parts}, ${raw(`w${index + 1}`)} AS (${part})`;
    joined.push(sql`${parts} ${last}`);
  }
  return joined;
}
