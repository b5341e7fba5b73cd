/**
 * Event hashes and the event ids made of them. Spec: server-server API, "Calculating the content hash" and "… reference hash".
 *
 * Hashing writes canonical JSON in the lax form: it is the same text wherever strict canonical JSON exists, and whether an
 * event may hold other numbers is decided when it is parsed.
 */
import { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import { decodeBase64, trimPadding } from "./base64.ts";
import { canonicalJsonWithout } from "./canonical_json.ts";
import type { Pdu } from "./event.ts";
import type { EventId } from "./ids.ts";
import { isJsonObject } from "./json.ts";
import { redactPdu } from "./redaction.ts";
import type { RoomVersionRules } from "./room_versions.ts";

const NOT_CONTENT_HASHED: ReadonlySet<string> = new Set(["unsigned", "signatures", "hashes"]);
// Redaction has taken `unsigned` away already.
const NOT_SIGNED: ReadonlySet<string> = new Set(["signatures"]);

/** Returns the SHA-256 of text in standard unpadded base64. */
export function sha256Base64(text: string): string {
  return trimPadding(createHash("sha256").update(text).digest("base64"));
}

/** Returns the SHA-256 of text in URL-safe unpadded base64. */
export function sha256Base64Url(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}

/** Returns the content hash as `hashes.sha256` holds it. */
export function contentHash(pdu: Readonly<Pdu>): string {
  return sha256Base64(canonicalJsonWithout(pdu, { omit: NOT_CONTENT_HASHED, lax: true }));
}

/** Tells whether `hashes.sha256` is the content hash; false for a redacted copy. */
export function checkContentHash(pdu: Readonly<Pdu>): boolean {
  const hashes = pdu["hashes"];
  const claimed = isJsonObject(hashes) && typeof hashes["sha256"] === "string" ? decodeBase64(hashes["sha256"]) : null;
  if (claimed === null || claimed.byteLength !== 32) return false;
  return timingSafeEqual(claimed, Buffer.from(contentHash(pdu), "base64"));
}

/** Returns the text that the reference hash and the event's signatures cover. */
export function signedTextOf(pdu: Readonly<Pdu>, rules: RoomVersionRules): string {
  return canonicalJsonWithout(redactPdu(pdu, rules), { omit: NOT_SIGNED, lax: true });
}

/** Returns the reference hash in standard unpadded base64, as references in room versions 1 and 2 hold it. */
export function referenceHash(pdu: Readonly<Pdu>, rules: RoomVersionRules): string {
  return sha256Base64(signedTextOf(pdu, rules));
}

/** Returns the event id; in room versions 1 and 2 that is the `event_id` in the PDU, which must have been checked. */
export function eventIdOf(pdu: Readonly<Pdu>, rules: RoomVersionRules): EventId {
  if (rules.eventIdFormat === "server_assigned") return pdu["event_id"] as EventId;
  return eventIdOfSignedText(signedTextOf(pdu, rules), rules);
}

/** Returns the event id of room versions 3 and later from what `signedTextOf` returned. */
export function eventIdOfSignedText(signedText: string, rules: RoomVersionRules): EventId {
  const hash = rules.eventIdFormat === "base64" ? sha256Base64(signedText) : sha256Base64Url(signedText);
  return `$${hash}` as EventId;
}
