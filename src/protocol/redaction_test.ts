import assert from "node:assert/strict";
import fc from "fast-check";
import vectors from "../../tests/fixtures/protocol/redaction.json" with { type: "json" };
import type { Pdu } from "./event.ts";
import type { JsonObject } from "./json.ts";
import { redactPdu } from "./redaction.ts";
import { getRoomVersion, listRoomVersions } from "./room_versions.ts";
import type { RoomVersionRules } from "./room_versions.ts";

function rulesOf(version: string): RoomVersionRules {
  const rules = getRoomVersion(version);
  assert.ok(rules !== null);
  return rules;
}

function makePdu(type: string, content: JsonObject): Pdu {
  return { type, content, sender: "@a:b", depth: 1, origin_server_ts: 1 };
}

Deno.test("redactPdu() keeps the top-level keys of each room version", () => {
  const { present, kept } = vectors.top_level;
  const everything = Object.fromEntries(present.map((key) => [key, key === "content" ? {} : key])) as unknown as Pdu;
  for (const { versions, keys } of kept) {
    for (const version of versions) {
      assert.deepEqual(Object.keys(redactPdu(everything, rulesOf(version))).sort(), keys, `version ${version}`);
    }
  }
});

for (const { type, content, kept } of vectors.content) {
  Deno.test(`redactPdu() keeps of ${type} ${Object.keys(content).join(", ")} what each room version says`, () => {
    const tested = new Set<string>();
    for (const { versions, content: expected } of kept) {
      for (const version of versions) {
        tested.add(version);
        const redacted = redactPdu(makePdu(type, content as JsonObject), rulesOf(version));
        assert.deepEqual(redacted.content, expected, `version ${version}`);
      }
    }
    assert.equal(tested.size, listRoomVersions().filter(({ stable }) => stable).length);
  });
}

Deno.test("redactPdu() is idempotent and changes nothing in place", () => {
  const key = fc.constantFrom(
    "membership",
    "creator",
    "users",
    "redacts",
    "third_party_invite",
    "allow",
    "body",
    "__proto__",
  );
  const content = fc.dictionary(key, fc.jsonValue());
  const type = fc.constantFrom(...new Set(vectors.content.map((vector) => vector.type)));
  const extra = fc.dictionary(fc.constantFrom("unsigned", "redacts", "origin", "prev_state", "x"), fc.jsonValue());
  fc.assert(fc.property(type, content, extra, fc.constantFrom(...listRoomVersions()), (...drawn) => {
    const [aType, aContent, more, rules] = drawn;
    const pdu = { ...more, ...makePdu(aType, aContent as JsonObject) } as Pdu;
    const before = JSON.stringify(pdu);
    const once = redactPdu(pdu, rules);
    assert.deepEqual(redactPdu(once, rules), once);
    assert.equal(JSON.stringify(pdu), before);
  }));
});
