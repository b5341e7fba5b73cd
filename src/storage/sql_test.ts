import assert from "node:assert/strict";
import fc from "fast-check";
import { inList, lockRow, perDialect, raw, renderSql, type Sql, sql, SqlList, type SqlPart } from "./sql.ts";

/** The same literals with values and templates in any slot: what the cache must tell apart. */
const LEAVES: readonly (() => Sql)[] = [() => sql`x`, () => sql``, () => raw("y"), () => lockRow()];
const NODES: readonly ((a: SqlPart, b: SqlPart) => Sql)[] = [
  (a, b) => sql`<${a}|${b}>`,
  (a, b) => sql`[${a}${b}]`,
  (a, b) => perDialect({ sqlite: sql`s${a}${b}`, postgres: sql`p${b}` }),
];

const part: fc.Arbitrary<SqlPart> = fc.letrec<{ part: SqlPart; node: Sql }>((tie) => ({
  part: fc.oneof({ maxDepth: 4 }, fc.integer(), fc.constantFrom(...LEAVES).map((make) => make()), tie("node")),
  node: fc.tuple(fc.constantFrom(...NODES), tie("part"), tie("part")).map(([make, a, b]) => make(a, b)),
})).part;

/** Renders without a cache, as plainly as can be. */
function renderPlainly(query: SqlPart, dialect: "sqlite" | "postgres"): { text: string; values: unknown[] } {
  const values: unknown[] = [];
  const render = (item: SqlPart): string => {
    if (typeof item !== "object" || item === null || !("strings" in item)) {
      values.push(item);
      return dialect === "sqlite" ? "?" : `$${values.length}`;
    }
    if ("sqlite" in item) return render((item as unknown as Record<string, Sql>)[dialect] ?? null);
    return item.strings.map((text, index) =>
      text + (index < item.values.length ? render(item.values[index] ?? null) : "")
    )
      .join("");
  };
  return { text: render(query), values };
}

Deno.test("renderSql() gives for every nesting what rendering without a cache gives", () => {
  fc.assert(
    fc.property(fc.tuple(part, part), ([a, b]) => {
      const query = sql`SELECT ${a} ${b}`;
      for (const dialect of ["sqlite", "postgres"] as const) {
        assert.deepEqual(renderSql(query, dialect), renderPlainly(query, dialect));
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("renderSql() gives the same text object for lists of any length", () => {
  const render = (items: readonly number[]) => renderSql(sql`SELECT 1 WHERE ${inList(sql`a`, items)}`, "postgres");
  assert.equal(render([1, 2, 3]).text, "SELECT 1 WHERE a = ANY($1)");
  assert.equal(render([]).text, render([1]).text);
  assert.deepEqual(render([7]).values, [new SqlList([7])]);
});
