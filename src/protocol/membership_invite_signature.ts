/**
 * The signature of a third-party invite. Spec: "Room versions", rule 5.4.1.7 of version 12; the same since version 1.
 */
import type { ThirdPartyInviteCheck } from "./auth_rules_context.ts";
import { isJsonObject } from "./json.ts";
import { parseVerifyKey, signatureKeyIds, verifyJson } from "./signatures.ts";

/** An invite with more signatures and keys than this costs too much to check; honest ones have one or two of each. */
const MAX_VERIFICATIONS = 200;

/** Tells whether any signature in `signed` was made with any of the keys, whatever server and key id it names. */
export function verifyThirdPartyInvite({ signed, publicKeys }: ThirdPartyInviteCheck): boolean {
  const servers = isJsonObject(signed["signatures"]) ? Object.keys(signed["signatures"]) : [];
  const keys = publicKeys.map((key) => parseVerifyKey(toStandardAlphabet(key))).filter((key) => key !== null);
  let remaining = MAX_VERIFICATIONS;
  for (const serverName of servers) {
    for (const keyId of signatureKeyIds(signed, serverName)) {
      for (const key of keys) {
        if (remaining-- === 0) return false;
        if (verifyJson(signed, { serverName, keyId, key })) return true;
      }
    }
  }
  return false;
}

/** Keys come in the standard or the URL-safe alphabet. Spec: "m.room.third_party_invite". */
function toStandardAlphabet(base64: string): string {
  return base64.replaceAll("-", "+").replaceAll("_", "/");
}
