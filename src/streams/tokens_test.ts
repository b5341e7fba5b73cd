import assert from "node:assert/strict";
import { type StreamPositions, STREAMS } from "./notifier.ts";
import {
  formatRoomToken,
  formatSlidingPos,
  formatSyncToken,
  parseRoomToken,
  parseSlidingPos,
  parseSyncToken,
} from "./tokens.ts";

const positions = Object.fromEntries(STREAMS.map((stream, index) => [stream, index * 7])) as StreamPositions;

Deno.test("a sync token comes back as the positions it was made of", () => {
  assert.deepEqual(parseSyncToken(formatSyncToken(positions)), positions);
});

Deno.test("a sync token is also a place in a room", () => {
  const token = formatSyncToken({ ...positions, events: 42 });
  assert.deepEqual(parseRoomToken(token), { kind: "stream", position: 42 });
});

Deno.test("room tokens come back, negative positions included", () => {
  for (const token of [{ kind: "stream", position: -3 }, { kind: "topological", depth: 9, position: -12 }] as const) {
    assert.deepEqual(parseRoomToken(formatRoomToken(token)), token);
  }
});

Deno.test("the position of a sliding sync comes back, and is a place in a room too", () => {
  const pos = { connection: "aZ09", state: 7, streams: { ...positions, events: 42 } };
  assert.deepEqual(parseSlidingPos(formatSlidingPos(pos)), pos);
  assert.deepEqual(parseRoomToken(formatSlidingPos(pos)), { kind: "stream", position: 42 });
  for (const bad of ["", "w1_", "w1_a_0_0_0", formatSyncToken(positions), formatSlidingPos(pos) + "_1"]) {
    assert.equal(parseSlidingPos(bad), null, bad);
  }
});

Deno.test("anything else is no token", () => {
  const bad = ["", "s1", "s2_1", "s1_1_2", "s1_-1_0_0_0_0_0_0_0", "p1_1", "p1_1_2_3", "e1_", "e1_x", "e1_1_2", "e1_01"];
  for (const text of [...bad, "e1_99999999999999999999", "s1_1e3_0_0_0_0_0_0_0", "_".repeat(1000)]) {
    assert.equal(parseRoomToken(text), null, text.slice(0, 40));
  }
});
