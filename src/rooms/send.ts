/** Sending events as a local user. Spec: client-server API, "Sending events to a room". */
import { canonicalJson, CanonicalJsonError } from "../protocol/canonical_json.ts";
import { forbidden, invalidParam, MatrixError, missingParam } from "../protocol/errors.ts";
import { type EventId, parseEventId, type RoomId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import { getActionLevel, getUserLevel } from "../protocol/power_levels.ts";
import { selectEventOfTransaction } from "../storage/event_lookups.ts";
import type { RoomBatch } from "./batch.ts";
import type { EventTemplate } from "./build.ts";
import type { EngineDeps } from "./engine_deps.ts";
import type { TransactionKey } from "./pending.ts";
import { assertRelationAllowed } from "./relation_rules.ts";
import { assertStateAllowed } from "./state_rules.ts";
import type { Requester, StoredEvent } from "./types.ts";

/** What to send. */
export interface SendOptions {
  readonly roomId: RoomId;
  readonly type: string;
  /** Null for message events. */
  readonly stateKey: string | null;
  readonly content: JsonObject;
  /** Null for requests without one, such as state events. */
  readonly txnId: string | null;
  /** Milliseconds; for application services. */
  readonly originServerTs?: number;
  /** For how long the event is to be sticky (MSC4354), in milliseconds. */
  readonly stickyMs?: number;
}

/** Sends an event; returns its id, or that of the event which the same request, or the same state, has made before. */
export async function sendEvent(
  deps: EngineDeps,
  { requester, options }: { requester: Requester; options: SendOptions },
): Promise<EventId> {
  const { roomId, type, stateKey, content, originServerTs, stickyMs } = options;
  if (type === "m.room.redaction" && stateKey === null) return await sendRedaction(deps, { requester, options });
  const transaction = transactionKey(requester, options);
  const template: EventTemplate = {
    type,
    stateKey,
    sender: requester.userId,
    content,
    ...(originServerTs === undefined ? {} : { originServerTs }),
    ...(stickyMs === undefined ? {} : { stickyMs }),
  };
  return await deps.queues.run(roomId, async (batch) => {
    const sent = await findSent(deps, { batch, transaction });
    if (sent !== null) return sent;
    const same = stateKey === null || stickyMs !== undefined ? null : await findSameState(batch, template);
    if (same !== null) {
      // Saying the same again takes what saying it took: whoever left or lost the power is refused.
      await batch.plan(template);
      return same.event.eventId;
    }
    await assertStateAllowed(deps, { batch, template });
    await assertRelationAllowed(deps, { batch, template });
    return (await batch.append(template, transaction)).event.eventId;
  });
}

/** Redacts an event. Users redact their own; for others' they need the power level. */
export async function redactEvent(
  deps: EngineDeps,
  { requester, roomId, eventId, reason, txnId, extra = {}, ownOnly = false }: {
    requester: Requester;
    roomId: RoomId;
    eventId: EventId;
    reason: string | null;
    txnId: string | null;
    /** Further content, which cannot replace the reason. */
    extra?: JsonObject;
    /** Refuses to redact what others sent, with `M_USER_SUSPENDED`. */
    ownOnly?: boolean;
  },
): Promise<EventId> {
  const transaction = transactionKey(requester, { type: "m.room.redaction", txnId });
  const content = reason === null ? extra : { ...extra, reason };
  return await deps.queues.run(roomId, async (batch) => {
    const sent = await findSent(deps, { batch, transaction });
    if (sent !== null) return sent;
    await assertMayRedact(batch, { requester, eventId, ownOnly });
    const template = { type: "m.room.redaction", stateKey: null, sender: requester.userId, content, redacts: eventId };
    return (await batch.append(template, transaction)).event.eventId;
  });
}

async function sendRedaction(
  deps: EngineDeps,
  { requester, options }: { requester: Requester; options: SendOptions },
): Promise<EventId> {
  const { redacts, reason, ...extra } = options.content;
  const eventId = typeof redacts === "string" ? parseEventId(redacts) : null;
  if (eventId === null) throw missingParam("redacts");
  const { roomId, txnId } = options;
  return await redactEvent(deps, {
    requester,
    roomId,
    eventId,
    reason: typeof reason === "string" ? reason : null,
    txnId,
    extra,
  });
}

/** The authorization rules let any member send a redaction; whether it applies is for the server to say beforehand. */
async function assertMayRedact(
  batch: RoomBatch,
  { requester, eventId, ownOnly }: { requester: Requester; eventId: EventId; ownOnly: boolean },
): Promise<void> {
  const target = (await batch.byId([eventId])).get(eventId);
  if (target !== undefined && target.roomNid !== batch.room.roomNid) {
    throw invalidParam("The event to redact is in another room");
  }
  const isOwn = target?.event.sender === requester.userId;
  if (isOwn) return;
  if (ownOnly) {
    throw new MatrixError(403, "M_USER_SUSPENDED", "Only own events can be redacted while the account is suspended");
  }
  const create = await batch.current("m.room.create", "");
  if (create === null) throw forbidden("The room has no create event");
  const levels = { create: create.event, powerLevels: (await batch.current("m.room.power_levels", ""))?.event };
  if (getUserLevel(levels, requester.userId) < getActionLevel(levels, "redact")) {
    throw forbidden("You do not have the power level to redact the events of others");
  }
}

/** Returns the key under which a device's request is remembered; null when it cannot be repeated. */
export function transactionKey(
  requester: Requester,
  { type, txnId }: { type: string; txnId: string | null },
): TransactionKey | null {
  if (txnId === null) return null;
  // Application services have no device; their user stands for one.
  const deviceId = requester.deviceId ?? (requester.appserviceId === null ? null : `as:${requester.appserviceId}`);
  return deviceId === null ? null : { userId: requester.userId, deviceId, type, txnId };
}

async function findSent(
  deps: EngineDeps,
  { batch, transaction }: { batch: RoomBatch; transaction: TransactionKey | null },
): Promise<EventId | null> {
  if (transaction === null) return null;
  const { userId, deviceId, type, txnId } = transaction;
  const pending = batch.pending.find((event) =>
    event.transaction !== null && event.transaction.txnId === txnId && event.transaction.userId === userId &&
    event.transaction.deviceId === deviceId && event.transaction.type === type
  );
  if (pending !== undefined) return pending.stored.event.eventId;
  return await selectEventOfTransaction(deps.db, { ...transaction, roomNid: batch.room.roomNid });
}

/** Returns the current state event at the same key if it says the same and is of the same sender. */
export async function findSameState(batch: RoomBatch, template: EventTemplate): Promise<StoredEvent | null> {
  if (template.stateKey === null) return null;
  const current = await batch.current(template.type, template.stateKey);
  if (current === null || current.redactedByNid !== null || current.event.sender !== template.sender) return null;
  return sameContent(current.event.content, template.content) ? current : null;
}

function sameContent(a: Readonly<JsonObject>, b: Readonly<JsonObject>): boolean {
  try {
    return canonicalJson(a as JsonObject, { lax: true }) === canonicalJson(b as JsonObject, { lax: true });
  } catch (error) {
    // What has no canonical form is refused where the event is built.
    if (error instanceof CanonicalJsonError) return false;
    throw error;
  }
}
