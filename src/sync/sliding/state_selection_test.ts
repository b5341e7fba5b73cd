import assert from "node:assert/strict";
import { type StateClause, StateSelection } from "./state_selection.ts";

function clause(
  include: [string | null, string | null][],
  { exclude = [], lazyMembers = false }: { exclude?: [string | null, string | null][]; lazyMembers?: boolean } = {},
): StateClause {
  const patterns = (pairs: [string | null, string | null][]) => pairs.map(([type, stateKey]) => ({ type, stateKey }));
  return { include: patterns(include), exclude: patterns(exclude), lazyMembers };
}

Deno.test("wildcards match, exclusions win, lazy members are left to those who need them", () => {
  const all = StateSelection.of([clause([[null, null]], { exclude: [["m.room.create", null]], lazyMembers: true })]);
  assert.equal(all.selects("m.room.topic", ""), true);
  assert.equal(all.selects("m.room.create", ""), false);
  assert.equal(all.selects("m.room.member", "@a:b"), false);
  assert.equal(all.needsAll("members"), false);
  assert.equal(all.needsAll("others"), true);
  const named = all.with(StateSelection.of([clause([["m.room.member", "@a:b"], [null, "x"]])]));
  assert.equal(named.selects("m.room.member", "@a:b"), true);
  assert.equal(named.selects("m.room.create", "x"), true);
  assert.equal(named.selects("m.room.create", ""), false);
});

Deno.test("the same selection has the same text and number however it was put together, and comes back from it", () => {
  const [one, two] = [clause([["a", ""], ["b", null]]), clause([["c", "k"]])];
  const union = StateSelection.of([one, two]);
  const other = StateSelection.of([two]).with(StateSelection.of([clause([["b", null], ["a", ""], ["a", ""]])]));
  assert.equal(union.text, other.text);
  assert.equal(union.nid, other.nid);
  assert.equal(StateSelection.parse(union.text).selects("b", "anything"), true);
  assert.equal(union.with(StateSelection.of([one])).text, union.text);
});

Deno.test("what is remembered stays bounded", () => {
  const many = (prefix: string) =>
    StateSelection.of([clause(Array.from({ length: 250 }, (_, index) => [`${prefix}${index}`, ""]))]);
  const next = many("b");
  assert.equal(many("a").with(next), next);
});
