/**
 * Policy servers: the events of a room that uses one are shown to it before anybody else sees them.
 * Spec: server-server API, "Policy Servers".
 *
 * Asking takes time, and the room's queue must not wait for it. So a task that comes upon an event without signature ends
 * with `PolicySignatureNeeded`, the policy server is asked outside of the queue, and the task runs again with the signed
 * event. Which server and key count is read from the room's current state at that moment, and remembered nowhere.
 */
import { RemoteError } from "../federation/remote_error.ts";
import type { Logger } from "../lib/log.ts";
import { MatrixError } from "../protocol/errors.ts";
import type { BuiltEvent } from "../protocol/event_builder.ts";
import { pduJson } from "../protocol/event_format.ts";
import type { Pdu } from "../protocol/event.ts";
import type { ServerName } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import {
  hasPolicySignature,
  parsePolicyServer,
  POLICY_TYPE,
  type PolicyServer,
  withPolicySignature,
} from "../protocol/policy_server.ts";
import { isServerJoined } from "../storage/federation_outbox.ts";
import type { RoomBatch } from "./batch.ts";

/** Asks a policy server for its signatures. Throws `RemoteError`. */
export type AskPolicyServer = (request: { server: ServerName; pdu: Readonly<Pdu> }) => Promise<JsonObject>;

/** A task has made an event that the policy server is to sign first. */
export class PolicySignatureNeeded extends Error {
  override readonly name = "PolicySignatureNeeded";
  readonly built: BuiltEvent;
  readonly policy: PolicyServer;

  constructor(built: BuiltEvent, policy: PolicyServer) {
    super("The policy server of the room has not signed the event");
    this.built = built;
    this.policy = policy;
  }
}

/** Returns the policy server that a room uses in its current state with the batch, or null. */
export async function policyServerOf(batch: RoomBatch): Promise<PolicyServer | null> {
  const stored = await batch.current(POLICY_TYPE, "");
  if (stored === null || stored.redactedByNid !== null) return null;
  const policy = parsePolicyServer(stored.event.content);
  const { signer, db } = batch.deps;
  // We sign no events for rooms and cannot ask ourselves: whoever runs a policy server under our name sees them later.
  if (policy === null || policy.via === signer.serverName) return null;
  const { roomNid } = batch.room;
  return await isServerJoined(db, { roomNid, server: policy.via }) ? policy : null;
}

/** Gets signatures of policy servers. */
export class PolicySigner {
  /** Null while other servers cannot be reached. */
  ask: AskPolicyServer | null = null;
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Returns the event with the signature of the policy server. Throws the `MatrixError` that the client shall see. */
  async sign(built: BuiltEvent, policy: PolicyServer): Promise<BuiltEvent> {
    const signed = await this.#signed(built, policy);
    if ("event" in signed) return signed;
    const { status, errcode, body, message } = signed.error;
    const isRefusal = status !== null && status >= 400 && status < 500 && errcode !== null;
    if (!isRefusal) throw new MatrixError(502, "M_UNKNOWN", `The policy server of the room could not help: ${message}`);
    const text = typeof body?.["error"] === "string" ? body["error"].slice(0, 1000) : message;
    // Spec: "If the Policy Server returned an error, that error SHOULD be provided to the client verbatim."
    const { errcode: _, error: __, ...extra } = body ?? {};
    throw new MatrixError(status, errcode as "M_FORBIDDEN", text, extra);
  }

  /** Returns the event with the signature, or null where the policy server gives none. */
  async trySign(built: BuiltEvent, policy: PolicyServer): Promise<BuiltEvent | null> {
    const signed = await this.#signed(built, policy);
    if ("event" in signed) return signed;
    const { eventId, roomId } = built.event;
    this.#log.info("A policy server did not sign an event", {
      ...{ server: policy.via, roomId, eventId, reason: signed.error.message },
    });
    return null;
  }

  async #signed({ event }: BuiltEvent, policy: PolicyServer): Promise<BuiltEvent | { readonly error: RemoteError }> {
    const { via: server } = policy;
    const failure = { server, transient: true, reachable: false };
    if (this.ask === null) return { error: new RemoteError("Other servers cannot be reached", failure) };
    try {
      const signed = withPolicySignature(event, { answer: await this.ask({ server, pdu: event.pdu }), via: server });
      if (hasPolicySignature(signed, policy)) return { event: signed, json: pduJson(signed) };
      return { error: new RemoteError("Its signature is not good", { ...failure, reachable: true, status: 200 }) };
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error;
      return { error };
    }
  }
}
