/** Asking the policy server of a room. Spec: server-server API, "Asking for a Policy Server signature on an event". */
import type { Pdu } from "../protocol/event.ts";
import type { ServerName } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { FederationClient } from "./client.ts";

/** The specification names no time; this one, as Synapse's, leaves a policy server the time to look at media. */
const SIGN_TIMEOUT_MS = 30_000;
const MAX_ANSWER_BYTES = 65_536;

/** Returns the signatures that a policy server gives an event. Throws `RemoteError`, also where it refuses. */
export async function askPolicyServer(
  client: FederationClient,
  { server, pdu }: { server: ServerName; pdu: Readonly<Pdu> },
): Promise<JsonObject> {
  return await client.request({
    ...{ server, method: "POST", path: "/_matrix/policy/v1/sign", body: pdu as JsonObject },
    // Without its word nothing goes on in the room: it is asked even if it failed a moment ago.
    ...{ timeoutMs: SIGN_TIMEOUT_MS, maxBytes: MAX_ANSWER_BYTES, ignoreBackoff: true },
  });
}
