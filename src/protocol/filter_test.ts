import assert from "node:assert/strict";
import { matchesRoom, parseRoomEventFilter, parseSyncFilter, pickFields } from "./filter.ts";

function roomFilter(value: unknown) {
  const { filter, error } = parseRoomEventFilter(value);
  assert.equal(error, null);
  assert.ok(filter);
  return filter;
}

const message = { type: "m.room.message", sender: "@a:x", content: { body: "hi" } };

Deno.test("an empty filter matches everything and says so", () => {
  const filter = roomFilter({});
  assert.equal(filter.matchesAll, true);
  assert.equal(filter.matches(message), true);
  assert.equal(filter.limit, null);
});

Deno.test("types match with wildcards and not_types wins over types", () => {
  const filter = roomFilter({ types: ["m.room.*"], not_types: ["m.room.mess*e"] });
  assert.equal(filter.matches(message), false);
  assert.equal(filter.matches({ ...message, type: "m.room.member" }), true);
  assert.equal(filter.matches({ ...message, type: "m.sticker" }), false);
  assert.equal(roomFilter({ types: ["*a*b"] }).matches({ ...message, type: "xabab" }), true);
  assert.equal(roomFilter({ types: ["ab*ba"] }).matches({ ...message, type: "aba" }), false);
});

Deno.test("an empty list of types matches nothing", () => {
  const filter = roomFilter({ types: [] });
  assert.equal(filter.matchesNone, true);
  assert.equal(filter.matches(message), false);
});

Deno.test("senders, contains_url and relation types are evaluated", () => {
  assert.equal(roomFilter({ senders: ["@b:x"] }).matches(message), false);
  assert.equal(roomFilter({ not_senders: ["@a:x"] }).matches(message), false);
  assert.equal(roomFilter({ contains_url: true }).matches(message), false);
  assert.equal(roomFilter({ contains_url: true }).matches({ ...message, content: { url: "mxc://x/y" } }), true);
  assert.equal(roomFilter({ contains_url: false }).matches(message), true);
  const threaded = { ...message, content: { "m.relates_to": { rel_type: "m.thread", event_id: "$a" } } };
  assert.equal(roomFilter({ "org.matrix.msc3874.rel_types": ["m.thread"] }).matches(threaded), true);
  assert.equal(roomFilter({ "org.matrix.msc3874.rel_types": ["m.thread"] }).matches(message), false);
  assert.equal(roomFilter({ not_rel_types: ["m.thread"] }).matches(threaded), false);
  assert.equal(roomFilter({ not_rel_types: ["m.thread"] }).matches(message), true);
});

Deno.test("matchesRoom() lets not_rooms win over rooms", () => {
  const filter = roomFilter({ rooms: ["!a:x", "!b:x"], not_rooms: ["!b:x"] });
  assert.equal(matchesRoom(filter, "!a:x"), true);
  assert.equal(matchesRoom(filter, "!b:x"), false);
  assert.equal(matchesRoom(filter, "!c:x"), false);
});

Deno.test("parseSyncFilter() refuses wrong types, bad ids and oversized lists", () => {
  const bad: unknown[] = [
    [],
    "x",
    null,
    { presence: "x" },
    { room: { timeline: "x" } },
    { room: { timeline: { rooms: "x" } } },
    { room: { timeline: { limit: -1 } } },
    { room: { timeline: { limit: 1.5 } } },
    { room: { timeline: { limit: "5" } } },
    { room: { timeline: { types: [1] } } },
    { room: { timeline: { senders: ["alice"] } } },
    { room: { rooms: ["not_a_room_id"] } },
    { room: { include_leave: 1 } },
    { event_format: "xml" },
    { event_fields: {} },
    { room: { state: { lazy_load_members: "yes" } } },
    { room: { timeline: { types: new Array(1_001).fill("a") } } },
  ];
  for (const value of bad) {
    const { filter, error } = parseSyncFilter(value);
    assert.equal(filter, null, JSON.stringify(value)?.slice(0, 60));
    assert.ok(error);
  }
});

Deno.test("parseSyncFilter() accepts limit 0 and keeps what the client asked", () => {
  const { filter } = parseSyncFilter({
    room: { include_leave: true, timeline: { limit: 0 }, state: { lazy_load_members: true } },
    event_fields: ["content.body", "type"],
  });
  assert.equal(filter?.room.timeline.limit, 0);
  assert.equal(filter?.room.includeLeave, true);
  assert.equal(filter?.room.state.lazyLoadMembers, true);
  assert.deepEqual(filter?.eventFields, [["content", "body"], ["type"]]);
});

Deno.test("pickFields() follows escaped dots and cannot touch the prototype", () => {
  const { filter } = parseSyncFilter({
    event_fields: ["content.m\\.relates_to", "__proto__.polluted", "content.body"],
  });
  const event = JSON.parse(
    '{"type":"t","content":{"m.relates_to":{"a":1},"body":"b","x":1},"__proto__":{"polluted":1}}',
  );
  const picked = pickFields(event, filter?.eventFields ?? []);
  assert.equal(
    JSON.stringify(picked),
    '{"content":{"m.relates_to":{"a":1},"body":"b"},"__proto__":{"polluted":1}}',
  );
  assert.equal(({} as { polluted?: number }).polluted, undefined);
});
