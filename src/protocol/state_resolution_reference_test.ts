import assert from "node:assert/strict";
import type { RoomEvent } from "./event.ts";
import type { EventId } from "./ids.ts";
import { authDifference, conflictedSubgraph } from "./state_resolution_reference.ts";
import { rulesOf } from "./testing/auth_case.ts";
import { makeEvent } from "./testing/room_dag.ts";

/** Makes a graph from lines such as "d: b c", which says that d lists b and c as auth events. */
function graph(...lines: string[]): (id: EventId) => RoomEvent | undefined {
  const events = new Map(lines.map((line) => {
    const [id = "", auth = ""] = line.split(":");
    const event = makeEvent(rulesOf("11"), { id, type: "t", sender: "@u:a", auth: auth.split(" ").filter(Boolean) });
    return [event.eventId, event] as const;
  }));
  return (id) => events.get(id);
}

function ids(text: string): EventId[] {
  return text.split(" ") as EventId[];
}

Deno.test("authDifference() gives what only some chains hold", () => {
  const find = graph("a:", "b: a", "c: a", "d: b", "e: b c");
  assert.deepEqual([...authDifference([ids("d"), ids("e")], find)].sort(), ids("c d e"));
  assert.deepEqual([...authDifference([ids("d"), ids("d")], find)], []);
  assert.deepEqual([...authDifference([ids("a"), ids("b"), ids("a b")], find)], ids("b"));
});

Deno.test("authDifference() counts a set's own events as in its chain", () => {
  // Both sets have "p"; only in the first does another event rest on it.
  const find = graph("a:", "p: a", "x: p", "y: a");
  assert.deepEqual([...authDifference([ids("p x"), ids("p y")], find)].sort(), ids("x y"));
});

Deno.test("conflictedSubgraph() gives the events on paths between conflicted ones", () => {
  const find = graph("a:", "b: a", "c: b", "side: b", "d: c side", "below: a", "top: d");
  assert.deepEqual([...conflictedSubgraph(ids("d b below"), find)].sort(), ids("b below c d side"));
  assert.deepEqual([...conflictedSubgraph(ids("d"), find)], ids("d"));
  assert.deepEqual([...conflictedSubgraph(ids("c below"), find)].sort(), ids("below c"));
});

Deno.test("conflictedSubgraph() survives a circle", () => {
  const find = graph("a: b", "b: a");
  assert.deepEqual([...conflictedSubgraph(ids("a"), find)].sort(), ids("a b"));
});
