/** Credentials of the TURN server. Spec: client-server API, "Voice over IP". */
import { createHmac } from "node:crypto";
import type { Clock } from "../lib/clock.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Requester } from "../rooms/types.ts";

/** Options of the configuration, by Synapse's names. */
export interface TurnOptions {
  readonly turnUris: readonly string[];
  readonly turnSharedSecret: string | null;
  readonly turnUsername: string | null;
  readonly turnPassword: string | null;
  /** Milliseconds. */
  readonly turnUserLifetime: number;
  readonly turnAllowGuests: boolean;
}

/** Makes credentials as coturn's `use-auth-secret` checks them, or gives the fixed ones; `{}` without a TURN server. */
export function turnCredentials(
  requester: Requester,
  { options, clock }: { options: TurnOptions; clock: Clock },
): JsonObject {
  const { turnUris, turnSharedSecret, turnUsername, turnPassword, turnUserLifetime } = options;
  if (turnUris.length === 0 || (requester.isGuest && !options.turnAllowGuests)) return {};
  const rest = { ttl: Math.floor(turnUserLifetime / 1000), uris: [...turnUris] };
  if (turnSharedSecret !== null) {
    const username = `${Math.floor((clock.now() + turnUserLifetime) / 1000)}:${requester.userId}`;
    // SHA-1 is what TURN servers expect.
    const password = createHmac("sha1", turnSharedSecret).update(username, "utf8").digest("base64");
    return { username, password, ...rest };
  }
  if (turnUsername !== null && turnPassword !== null) {
    return { username: turnUsername, password: turnPassword, ...rest };
  }
  return {};
}
