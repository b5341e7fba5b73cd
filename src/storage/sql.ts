/**
 * The `sql` template: SQL text with every value bound, one text for SQLite and PostgreSQL.
 *
 * Templates nest. Values are never part of the text, so the text is constant and prepared statements are reused.
 * Where the dialects must differ, a fragment made by `perDialect` (or a helper below) holds one text for each.
 */
export type Dialect = "sqlite" | "postgres";

/** What can be bound. Booleans become 0/1 on SQLite. */
export type SqlValue = null | string | number | bigint | boolean | Uint8Array;

type Part = string | { readonly value: SqlValue | readonly string[] | readonly number[]; readonly list: boolean } | {
  readonly sqlite: Sql;
  readonly postgres: Sql;
};

/** A piece of SQL. Made by `sql`, never by hand. */
export interface Sql {
  readonly parts: readonly Part[];
}

function isSql(value: unknown): value is Sql {
  return typeof value === "object" && value !== null && "parts" in value;
}

/** Makes SQL from a template; interpolated `Sql` is spliced in, anything else is bound. */
export function sql(strings: TemplateStringsArray, ...values: readonly (SqlValue | Sql)[]): Sql {
  const parts: Part[] = [strings[0] ?? ""];
  for (const [index, value] of values.entries()) {
    if (isSql(value)) parts.push(...value.parts);
    else parts.push({ value, list: false });
    parts.push(strings[index + 1] ?? "");
  }
  return { parts };
}
