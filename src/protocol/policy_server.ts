/** What a room says of its policy server. Spec: server-server API, "Policy Servers". */
import type { RoomEvent } from "./event.ts";
import { parseServerName, type ServerName } from "./ids.ts";
import { isJsonObject, type JsonObject } from "./json.ts";
import { parseVerifyKey, verifyEventSignature, type VerifyKey } from "./signatures.ts";

/** The server that a room's events are shown to before they are sent, and the key it signs them with. */
export interface PolicyServer {
  readonly via: ServerName;
  readonly key: VerifyKey;
}

/** The type of the state event that names it. */
export const POLICY_TYPE = "m.room.policy";
/** The only key there is for now. */
export const POLICY_KEY_ID = "ed25519:policy_server";

/** Returns the policy server that the content of `m.room.policy` names; null where it lacks what it must have. */
export function parsePolicyServer({ via, public_keys: keys }: Readonly<JsonObject>): PolicyServer | null {
  const name = typeof via === "string" ? parseServerName(via) : null;
  const text = isJsonObject(keys) ? keys["ed25519"] : undefined;
  const key = typeof text === "string" ? parseVerifyKey(text) : null;
  return name === null || key === null ? null : { via: name, key };
}

/** Tells whether an event needs no signature: so that the policy server of a room can always be changed. */
export function isPolicyEvent({ type, stateKey }: { type: string; stateKey: string | null }): boolean {
  return type === POLICY_TYPE && stateKey === "";
}

/** Tells whether the policy server has signed the event. */
export function hasPolicySignature({ pdu, rules }: RoomEvent, { via, key }: PolicyServer): boolean {
  return verifyEventSignature(pdu, { rules, key, serverName: via, keyId: POLICY_KEY_ID });
}

/** Returns the event with what the policy server answered added; signatures that are there already stay. */
export function withPolicySignature(
  event: RoomEvent,
  { answer, via }: { answer: Readonly<JsonObject>; via: ServerName },
): RoomEvent {
  const given = answer[via];
  const signature = isJsonObject(given) ? given[POLICY_KEY_ID] : undefined;
  if (typeof signature !== "string") return event;
  const all = isJsonObject(event.pdu["signatures"]) ? event.pdu["signatures"] : {};
  const own = isJsonObject(all[via]) ? all[via] : {};
  const signatures = { ...all, [via]: { ...own, [POLICY_KEY_ID]: signature } };
  return { ...event, pdu: { ...event.pdu, signatures } };
}
