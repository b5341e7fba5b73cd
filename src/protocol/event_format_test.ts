import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeBase64 } from "./base64.ts";
import { canonicalJson, parseJsonStrict } from "./canonical_json.ts";
import { MatrixError } from "./errors.ts";
import type { Pdu, RoomEvent } from "./event.ts";
import { buildEvent, eventTemplate } from "./event_builder.ts";
import type { BuiltEvent, EventDraft } from "./event_builder.ts";
import { MAX_EVENT_BYTES, parsePdu, pduJson, roomEventFromJson } from "./event_format.ts";
import { checkContentHash, eventIdOf, referenceHash } from "./hashes.ts";
import type { EventId, RoomId, ServerName, UserId } from "./ids.ts";
import type { JsonObject } from "./json.ts";
import { redactEvent } from "./redaction.ts";
import { getRoomVersion, listRoomVersions } from "./room_versions.ts";
import type { RoomVersionRules } from "./room_versions.ts";
import { hashAndSignEvent, signingKeyFromSeed, verifyEventSignature } from "./signatures.ts";
import type { Signer } from "./signatures.ts";

const HASH_ID = "Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg";
const key = signingKeyFromSeed("1", decodeBase64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1") as Uint8Array);
const signer: Signer = { serverName: "b" as ServerName, key };

function rulesOf(version: string): RoomVersionRules {
  const rules = getRoomVersion(version);
  assert.ok(rules !== null);
  return rules;
}

function draftOf(rules: RoomVersionRules, changes: Partial<EventDraft> = {}): EventDraft {
  const hasPairs = rules.eventIdFormat === "server_assigned";
  const isCreate = changes.type === "m.room.create" && rules.roomIdIsCreateHash;
  const parent = (hasPairs ? "$p:b" : `$${HASH_ID}`) as EventId;
  return {
    rules,
    roomId: isCreate ? null : (rules.roomIdIsCreateHash ? `!${HASH_ID}` : "!r:b") as RoomId,
    sender: "@a:b" as UserId,
    type: "m.room.message",
    content: { msgtype: "m.text", body: "héllo \u{1f600} \u0001" },
    depth: 7,
    prevEvents: [parent],
    authEvents: [parent],
    originServerTs: 1_700_000_000_000,
    ...(hasPairs && { eventId: "$e:b" as EventId, referenceHashes: new Map([[parent, HASH_ID]]) }),
    ...changes,
  };
}

function build(version: string, changes: Partial<EventDraft> = {}): BuiltEvent {
  return buildEvent({ ...draftOf(rulesOf(version), changes), ...signer });
}

function parseOk(json: unknown, rules: RoomVersionRules): RoomEvent {
  const parsed = parsePdu(json, rules);
  assert.ok(parsed.ok, parsed.ok ? "" : parsed.reason);
  return parsed.event;
}

function reasonOf(json: unknown, version: string): string | null {
  const parsed = parsePdu(json, rulesOf(version));
  return parsed.ok ? null : parsed.reason;
}

const DRAFTS: readonly Partial<EventDraft>[] = [
  {},
  { type: "m.room.create", stateKey: "", content: { creator: "@a:b", room_version: "x", "m.federate": true } },
  { type: "m.room.member", stateKey: "@a:b", content: { membership: "join", displayname: "A" } },
  { type: "m.room.power_levels", stateKey: "", content: { users: { "@a:b": 100 }, invite: 5, x: 1 } },
  { type: "m.room.redaction", content: { reason: "r" }, redacts: `$${HASH_ID}` as EventId },
  { type: 'odd "type"', stateKey: 'é"', content: {} },
  { prevEvents: [], authEvents: [], depth: 0 },
];

for (const rules of listRoomVersions()) {
  Deno.test(`buildEvent() equals the slow way, and parses back, in version ${rules.id}`, () => {
    for (const changes of DRAFTS) {
      const { event, json } = build(rules.id, changes);
      const slow = hashAndSignEvent(eventTemplate(draftOf(rules, changes)), { rules, ...signer });
      assert.equal(json, canonicalJson(slow));
      assert.deepEqual(event.pdu, JSON.parse(json));
      assert.equal(event.eventId, eventIdOf(slow, rules));
      assert.ok(checkContentHash(event.pdu));
      assert.ok(verifyEventSignature(event.pdu, { rules, serverName: "b", keyId: key.keyId, key: key.verifyKey }));
      assert.deepEqual(parseOk(JSON.parse(json), rules), event);
      assert.deepEqual(roomEventFromJson(json, event), event);
      assert.equal(pduJson(event), json);
    }
  });

  Deno.test(`a redacted event keeps its id and signature in version ${rules.id}`, () => {
    for (const changes of DRAFTS) {
      const { event } = build(rules.id, changes);
      const redacted = redactEvent(event);
      const parsed = parseOk(JSON.parse(pduJson(redacted)), rules);
      assert.equal(parsed.eventId, event.eventId);
      assert.deepEqual(parsed, redacted);
      assert.equal(referenceHash(redacted.pdu, rules), referenceHash(event.pdu, rules));
    }
  });
}

Deno.test("event ids have the form of their version", () => {
  assert.equal(build("1").event.eventId, "$e:b");
  const versions = { base64: build("3"), urlSafe: build("4") };
  assert.match(versions.base64.event.eventId, /^\$[A-Za-z0-9+/]{43}$/);
  assert.match(versions.urlSafe.event.eventId, /^\$[A-Za-z0-9_-]{43}$/);
  const standard = versions.base64.event.eventId.replaceAll("+", "-").replaceAll("/", "_");
  assert.equal(standard, versions.urlSafe.event.eventId);
});

Deno.test("version 12: the create event has no room id, the room has the create event's hash", () => {
  const draft = { type: "m.room.create", stateKey: "", content: {}, prevEvents: [], authEvents: [] };
  const { event } = build("12", draft);
  assert.equal(event.roomId, `!${event.eventId.slice(1)}`);
  assert.ok(!("room_id" in event.pdu));
  assert.notEqual(reasonOf({ ...event.pdu, room_id: event.roomId }, "12"), null);
  assert.throws(() => build("12", { ...draft, roomId: "!r:b" as RoomId }));
  assert.throws(() => build("11", { ...draft, roomId: null }));
  const message = build("12").event.pdu;
  for (const roomId of [undefined, "!r:b", `$${HASH_ID}`, `!${HASH_ID.slice(1)}`]) {
    assert.equal(reasonOf({ ...message, room_id: roomId }, "12"), "Invalid room_id");
  }
  assert.equal(reasonOf({ ...build("11").event.pdu, room_id: `!${HASH_ID}` }, "11"), "Invalid room_id");
});

Deno.test("redactions name their target where the version keeps it", () => {
  const redaction = { type: "m.room.redaction", content: {}, redacts: `$${HASH_ID}` as EventId };
  for (const version of ["1", "10", "11", "12"]) {
    const { event } = build(version, redaction);
    const isInContent = version === "11" || version === "12";
    assert.equal(event.redacts, redaction.redacts);
    assert.equal(event.pdu["redacts"], isInContent ? undefined : redaction.redacts);
    assert.equal(event.content["redacts"], isInContent ? redaction.redacts : undefined);
  }
  assert.equal(build("12", { content: { redacts: "$x" } }).event.redacts, null);
});

Deno.test("parsePdu() refuses fields of the wrong type", () => {
  const pdu = build("12", { stateKey: "" }).event.pdu;
  assert.equal(reasonOf(pdu, "12"), null);
  const wrong: Record<string, unknown[]> = {
    type: [undefined, 1, null, "a\u0000", "é".repeat(256)],
    state_key: [1, null, "x".repeat(256)],
    sender: [undefined, 1, "a:b", "@a", `@${"a".repeat(255)}:b`],
    content: [undefined, [], "x", null],
    hashes: [undefined, {}, [], { sha256: 1 }],
    signatures: [undefined, [], { b: 1 }, { b: { "ed25519:1": 1 } }],
    depth: [undefined, -1, 1.5, "1", 2 ** 53, null],
    origin_server_ts: [undefined, 1.5, "1", 2 ** 53],
    prev_events: [undefined, {}, [1], ["x"], [["$x", {}]], Array(21).fill(`$${HASH_ID}`)],
    auth_events: [undefined, "x", [null], Array(11).fill(`$${HASH_ID}`)],
  };
  for (const [field, values] of Object.entries(wrong)) {
    for (const value of values) {
      assert.match(reasonOf({ ...pdu, [field]: value }, "12") ?? "accepted", new RegExp(field), `${field}: ${value}`);
    }
  }
  for (const json of [null, [], "x", 1, undefined]) assert.notEqual(reasonOf(json, "12"), null);
  assert.equal(reasonOf({ ...pdu, prev_events: Array(20).fill(`$${HASH_ID}`) }, "12"), null);
});

Deno.test("parsePdu() checks references and event ids of versions 1 and 2", () => {
  const { pdu } = build("2").event;
  for (const eventId of [undefined, 1, "$x", "x:b", "$:b"]) {
    assert.equal(reasonOf({ ...pdu, event_id: eventId }, "2"), "Invalid event_id");
  }
  for (const references of [["$x:b"], [["$x:b"]], [["$x:b", 1]], [["x", {}]], [["$x:b", {}, 1]]]) {
    assert.equal(reasonOf({ ...pdu, prev_events: references }, "2"), "Invalid prev_events");
  }
  assert.deepEqual(parseOk({ ...pdu, prev_events: [["$x:b", {}]] }, rulesOf("2")).prevEvents, ["$x:b"]);
});

Deno.test("parsePdu() bounds the size in bytes, unsigned not counted", () => {
  const { pdu, rules } = build("12").event;
  const room = MAX_EVENT_BYTES - canonicalJson({ ...pdu, content: { body: "" } }).length;
  const exactly = { ...pdu, content: { body: "x".repeat(room) } };
  assert.equal(reasonOf({ ...exactly, unsigned: { x: "y".repeat(1000) } }, "12"), null);
  assert.equal(reasonOf({ ...pdu, content: { body: "x".repeat(room + 1) } }, "12"), "Event is too large");
  assert.equal(reasonOf({ ...pdu, content: { body: "é".repeat(room / 2 + 1) } }, "12"), "Event is too large");
  const parsed = parsePdu({ ...exactly, unsigned: { age: 1.5 } }, rules);
  assert.deepEqual(parsed.ok && parsed.unsigned, { age: 1.5 });
  assert.ok(parsed.ok && !("unsigned" in parsed.event.pdu));
});

Deno.test("old room versions keep big integers and floats in what is hashed, and show doubles", () => {
  const v5 = rulesOf("5");
  const signed = hashAndSignEvent(
    parseJsonStrict(
      `{"auth_events":[],"content":{"big":12345678901234567890,"float":1.0},"depth":9223372036854775807,` +
        `"origin_server_ts":1,"prev_events":[],"room_id":"!r:b","sender":"@a:b","type":"x"}`,
      { numbers: "exact" },
    ) as Pdu,
    { rules: v5, ...signer },
  );
  const wire = JSON.stringify(signed);
  const parsed = parsePdu(parseJsonStrict(wire, { numbers: "exact" }), v5);
  assert.ok(parsed.ok);
  assert.ok(checkContentHash(parsed.event.pdu));
  assert.match(parsed.json, /"big":12345678901234567890,"float":1\.0\}/);
  assert.equal(parsed.event.depth, Number.MAX_SAFE_INTEGER);
  assert.equal(parsed.event.content["float"], 1);
  const loaded = roomEventFromJson(parsed.json, parsed.event);
  assert.equal(pduJson(loaded), parsed.json);
  assert.equal(eventIdOf(loaded.pdu, v5), parsed.event.eventId);
  assert.notEqual(reasonOf(parseJsonStrict(wire, { numbers: "exact" }), "6"), null);
  const tooDeep = wire.replace("9223372036854775807", "9223372036854775808");
  assert.equal(reasonOf(parseJsonStrict(tooDeep, { numbers: "exact" }), "5"), "Invalid depth");
});

Deno.test("parsePdu() never throws, whatever comes", () => {
  const fields = Object.keys(build("2", { stateKey: "" }).event.pdu);
  const pdus = listRoomVersions().map((rules) => [build(rules.id, { stateKey: "" }).event.pdu, rules] as const);
  fc.assert(
    fc.property(fc.constantFrom(...pdus), fc.constantFrom(...fields), fc.jsonValue(), ([pdu, rules], ...change) => {
      const [field, value] = change;
      parsePdu({ ...pdu, [field]: value } as JsonObject, rules);
    }),
  );
});

Deno.test("buildEvent() gives clients the error for what they sent", () => {
  const errcodeOf = (changes: Partial<EventDraft>): string => {
    try {
      build("12", changes);
      return "none";
    } catch (error) {
      assert.ok(error instanceof MatrixError);
      return error.errcode;
    }
  };
  assert.equal(errcodeOf({}), "none");
  assert.equal(errcodeOf({ content: { a: 1.5 } }), "M_BAD_JSON");
  assert.equal(errcodeOf({ content: { a: 2 ** 53 } }), "M_BAD_JSON");
  assert.equal(errcodeOf({ content: { a: "\ud800" } }), "M_BAD_JSON");
  assert.equal(errcodeOf({ content: { a: "x".repeat(65536) } }), "M_TOO_LARGE");
  assert.equal(errcodeOf({ type: "x".repeat(256) }), "M_TOO_LARGE");
  assert.equal(errcodeOf({ stateKey: "é".repeat(128) }), "M_TOO_LARGE");
});
