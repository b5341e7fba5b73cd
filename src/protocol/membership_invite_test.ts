import assert from "node:assert/strict";
import type { JsonObject } from "./json.ts";
import { verifyThirdPartyInvite } from "./membership_invite_signature.ts";
import { signingKeyFromSeed, signJson } from "./signatures.ts";
import type { ServerName } from "./ids.ts";
import { allows, type AuthCase, refuses, versions } from "./testing/auth_case.ts";

const ALICE = "@alice:a";
const BOB = "@bob:b";
const ALL = versions();
const KEY = signingKeyFromSeed("0", new Uint8Array(32).fill(7));
const OTHER_KEY = signingKeyFromSeed("0", new Uint8Array(32).fill(8));
const PUBLIC_KEY = KEY.verifyKey.base64;
const SIGNED = sign({ mxid: BOB, token: "t", sender: ALICE });

function sign(object: JsonObject): JsonObject {
  return signJson(object, { serverName: "identity.example" as ServerName, key: KEY });
}

/** Alice's invite of Bob by e-mail, accepted by Bob's server with `signed`. */
function accepted(signed: unknown, issued: JsonObject = { public_key: PUBLIC_KEY }): AuthCase {
  return {
    state: [{ type: "m.room.third_party_invite", sender: ALICE, stateKey: "t", content: issued }],
    event: {
      type: "m.room.member",
      sender: ALICE,
      stateKey: BOB,
      content: { membership: "invite", third_party_invite: { display_name: "b…", signed: signed as JsonObject } },
    },
  };
}

Deno.test("third-party invite: is allowed by a signature of the key or of any of the keys", () => {
  allows(ALL, accepted(SIGNED));
  allows(
    ALL,
    accepted(SIGNED, { public_keys: [{ public_key: OTHER_KEY.verifyKey.base64 }, { public_key: PUBLIC_KEY }] }),
  );
  const urlSafe = PUBLIC_KEY.replaceAll("+", "-").replaceAll("/", "_");
  allows(ALL, accepted(SIGNED, { public_key: urlSafe }));
  // The sender need not be in the room any more, nor have the level to invite.
  allows(ALL, { ...accepted(SIGNED), members: { [ALICE]: "leave" }, powerLevels: { invite: 100 } });
});

Deno.test("third-party invite: is refused without a valid signature", () => {
  refuses(ALL, [accepted(SIGNED, { public_key: OTHER_KEY.verifyKey.base64 }), /signature/]);
  refuses(ALL, [accepted(SIGNED, {}), /signature/]);
  refuses(ALL, [accepted(SIGNED, { public_key: "not a key", public_keys: [1, {}, { public_key: 2 }] }), /signature/]);
  refuses(ALL, [accepted({ ...SIGNED, sender: BOB }), /signature/]);
  refuses(ALL, [accepted({ mxid: BOB, token: "t" }), /signature/]);
  refuses(ALL, [accepted({ mxid: BOB, token: "t", signatures: { x: 1 } }), /signature/]);
});

Deno.test("third-party invite: must be for the target, by its issuer, and known to the room", () => {
  const question = accepted(SIGNED);
  refuses(ALL, [{ ...question, members: { [BOB]: "ban" } }, /banned/]);
  refuses(ALL, [accepted(undefined), /not signed/]);
  refuses(ALL, [accepted("x"), /not signed/]);
  refuses(ALL, [accepted(sign({ token: "t" })), /no user id or no token/]);
  refuses(ALL, [accepted(sign({ mxid: BOB })), /no user id or no token/]);
  refuses(ALL, [accepted(sign({ mxid: ALICE, token: "t" })), /another user/]);
  refuses(ALL, [accepted(sign({ mxid: BOB, token: "u" })), /no such/]);
  refuses(ALL, [{ ...question, event: { ...question.event, sender: BOB } }, /issued by another/]);
});

Deno.test("verifyThirdPartyInvite() gives up on a flood of signatures", () => {
  const signatures: JsonObject = {};
  for (let i = 0; i < 300; i++) signatures[`s${i}`] = { "ed25519:0": "A".repeat(86) };
  signatures["z"] = (SIGNED["signatures"] as JsonObject)["identity.example"] as JsonObject;
  assert.equal(verifyThirdPartyInvite({ signed: { ...SIGNED, signatures }, publicKeys: [PUBLIC_KEY] }), false);
});
