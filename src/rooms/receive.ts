/**
 * Taking in events that others made. Spec: server-server API, "Checks performed on receipt of a PDU".
 *
 * Format, hashes and signatures have been checked by the caller. Here an event is authorized against its auth events and
 * against the state before it (else it is rejected), then against the current state (else it is soft-failed), and finds
 * its place in the graph. Rejected and soft-failed events are kept: others may refer to them.
 */
import { describeError } from "../lib/describe_error.ts";
import { type RoomEvent, stateKeyOf } from "../protocol/event.ts";
import type { EventId, RoomId } from "../protocol/ids.ts";
import { hasPolicySignature, isPolicyEvent, type PolicyServer } from "../protocol/policy_server.ts";
import { isDueToRows } from "../storage/database_error.ts";
import { rankAfter, type RoomBatch } from "./batch.ts";
import { mergeExtremities } from "./dummy_events.ts";
import type { EngineDeps } from "./engine_deps.ts";
import { extremitiesAfter } from "./extremities.ts";
import { currentDeltas } from "./deltas.ts";
import { judge } from "./partial_checks.ts";
import { checkState } from "./receive_checks.ts";
import { mayRedact } from "./redaction_rules.ts";
import { policyServerOf } from "./policy.ts";
import { redactionOfUser } from "./user_redactions.ts";
import { resolveRoots } from "./resolve.ts";
import { StateDeltas } from "./state_deltas.ts";
import { rootOfState } from "./supplied_state.ts";
import type { StoredEvent } from "./types.ts";

/** An event whose format, hashes and signatures are right. */
export interface ReceivedEvent {
  readonly event: RoomEvent;
  /** The text to store. */
  readonly json: string;
  /**
   * The states after parents that are not known here, as other servers tell them: ids of events that are stored. With
   * these the event is placed behind a gap.
   */
  readonly parentStates?: ReadonlyMap<EventId, readonly EventId[]>;
  /** It is history: the present of the room is left as it is. */
  readonly isBackfill?: boolean;
  /** It is ours to send to other servers: an invitation that came back signed. */
  readonly isOurs?: boolean;
  /** The key of the policy server that was asked for a signature and gave none. */
  readonly notSignedBy?: string;
}

/**
 * What became of an event. Those with missing parents or auth events are not kept: fetch these first. One that failed can
 * not be written, now or later.
 */
export type ReceiveOutcome =
  | { readonly kind: "accepted" | "duplicate" }
  | { readonly kind: "rejected" | "soft_failed" | "failed"; readonly reason: string }
  | { readonly kind: "missing"; readonly parents: readonly EventId[]; readonly authEvents: readonly EventId[] };

/** The event is to be shown to the policy server first. */
interface Unsigned {
  readonly kind: "unsigned";
  readonly policy: PolicyServer;
}

const CREATE = stateKeyOf("m.room.create", "");
/** The policy server may change while it is asked. */
const MAX_POLICY_ROUNDS = 3;

/** Takes in events of one room, parents before children; each has its own outcome. The room must be known. */
export async function receiveEvents(
  deps: EngineDeps,
  { roomId, events }: { roomId: RoomId; events: readonly ReceivedEvent[] },
): Promise<ReceiveOutcome[]> {
  const outcomes: ReceiveOutcome[] = [];
  let open: (readonly [index: number, received: ReceivedEvent])[] = [...events.entries()];
  for (let round = 1; open.length > 0; round++) {
    const isLast = round === MAX_POLICY_ROUNDS;
    const together = open.map(([, received]) => received);
    const taken = await receiveTogether(deps, { roomId, together, isLast });
    const policy = taken.find((outcome) => outcome.kind === "unsigned")?.policy ?? null;
    const waiting: typeof open = [];
    for (const [at, [index, received]] of open.entries()) {
      const outcome = taken[at];
      if (outcome === undefined) continue;
      // What lacks a parent may build on an event that waits for its signature.
      if (outcome.kind === "unsigned" || (outcome.kind === "missing" && policy !== null)) {
        waiting.push([index, received]);
      } else outcomes[index] = outcome;
    }
    open = await Promise.all(waiting.map(async ([index, received]) => {
      return [index, policy === null ? received : await askForSignature(deps, { received, policy })] as const;
    }));
  }
  await mergeExtremities(deps, roomId);
  return outcomes;
}

async function receiveTogether(
  deps: EngineDeps,
  { roomId, together, isLast }: { roomId: RoomId; together: readonly ReceivedEvent[]; isLast: boolean },
): Promise<(ReceiveOutcome | Unsigned)[]> {
  const settled = await Promise.allSettled(together.map((received) =>
    deps.queues.run(roomId, async (batch) => {
      await batch.foresight.of(together);
      return await receiveOne(deps, { batch, received, isLast });
    })
  ));
  return settled.map((result): ReceiveOutcome | Unsigned => {
    if (result.status === "fulfilled") return result.value;
    if (!isDueToRows(result.reason)) throw result.reason;
    return { kind: "failed", reason: describeError(result.reason) };
  });
}

async function askForSignature(
  { policySigner }: EngineDeps,
  { received, policy }: { received: ReceivedEvent; policy: PolicyServer },
): Promise<ReceivedEvent> {
  if (isPolicyEvent(received.event) || hasPolicySignature(received.event, policy)) return received;
  const signed = await policySigner.trySign(received, policy);
  return signed === null ? { ...received, notSignedBy: policy.key.base64 } : { ...received, ...signed };
}

interface Parents {
  readonly prev: readonly StoredEvent[];
  readonly missingPrev: readonly EventId[];
  readonly auth: readonly StoredEvent[];
  /** Roots of the states after the parents, known or not. */
  readonly roots: readonly number[];
}

async function receiveOne(
  deps: EngineDeps,
  { batch, received, isLast }: { batch: RoomBatch; received: ReceivedEvent; isLast: boolean },
): Promise<ReceiveOutcome | Unsigned> {
  const { event, json } = received;
  if (event.roomId !== batch.room.roomId) return { kind: "rejected", reason: "The event is of another room" };
  const known = (await batch.byId([event.eventId])).get(event.eventId);
  if (known !== undefined && !known.isOutlier) return { kind: "duplicate" };
  const found = await findParents(batch, received);
  if ("kind" in found) return found;
  const before = await resolveRoots(deps, { batch, roots: found.roots });
  const refusal = await judge(batch, { event, auth: found.auth, before });
  const { isBackfill = false } = received;
  // While members are lacking nothing can be said of the present.
  const isJudged = refusal === null && !isBackfill && batch.copy?.isPartial !== true;
  let spam = isJudged ? await checkState(batch, { event, root: batch.root }) : null;
  if (refusal === null && !isBackfill && spam === null) {
    const policy = await missingSignature(batch, event);
    if (policy !== null && !isLast && received.notSignedBy !== policy.key.base64) return { kind: "unsigned", policy };
    if (policy !== null) spam = "The policy server of the room does not recommend the event";
  }
  const stored = await makeStored(batch, { event, json, known, auth: found.auth, before, refusal, spam });
  const wasOutlier = known !== undefined;
  if (isBackfill) await addToHistory({ batch, stored, parents: found, wasOutlier });
  else await addToRoom(deps, { batch, stored, parents: found, wasOutlier, isSent: received.isOurs !== true });
  if (refusal !== null) return { kind: "rejected", reason: refusal };
  return spam === null ? { kind: "accepted" } : { kind: "soft_failed", reason: spam };
}

/** Returns the policy server of the room, unless it has signed the event. */
async function missingSignature(batch: RoomBatch, event: RoomEvent): Promise<PolicyServer | null> {
  const policy = isPolicyEvent(event) ? null : await policyServerOf(batch);
  return policy === null || hasPolicySignature(event, policy) ? null : policy;
}

async function findParents(
  batch: RoomBatch,
  { event, parentStates = new Map(), isBackfill = false }: ReceivedEvent,
): Promise<Parents | ReceiveOutcome> {
  if (event.prevEvents.length === 0 && event.type === "m.room.create" && isBackfill) {
    // It comes again as the first of the history.
    return { prev: [], missingPrev: [], auth: [], roots: [] };
  }
  if (event.prevEvents.length === 0) {
    return { kind: "rejected", reason: "Only the first event of a room has no parents" };
  }
  const [known, auth] = await Promise.all([batch.byId(event.prevEvents), batch.byId(event.authEvents)]);
  const prev = [...known.values()].filter(({ isOutlier }) => !isOutlier);
  const placed = new Set(prev.map((stored) => stored.event.eventId));
  const missingPrev = [...new Set(event.prevEvents)].filter((id) => !placed.has(id));
  const parents = missingPrev.filter((id) => !parentStates.has(id));
  const authEvents = event.authEvents.filter((id) => !auth.has(id));
  if (parents.length > 0 || authEvents.length > 0) return { kind: "missing", parents, authEvents };
  const { roomNid } = batch.room;
  if ([...known.values()].some((stored) => stored.roomNid !== roomNid)) {
    return { kind: "rejected", reason: "A parent is of another room" };
  }
  const roots = prev.map((stored) => stored.stateAfter ?? 0);
  for (const id of missingPrev) roots.push(await rootOfState(batch, parentStates.get(id) ?? []));
  return { prev, missingPrev, auth: [...auth.values()], roots };
}

async function makeStored(
  batch: RoomBatch,
  { event, json, known, auth, before, refusal, spam }: {
    event: RoomEvent;
    json: string;
    known: StoredEvent | undefined;
    auth: readonly StoredEvent[];
    before: number;
    refusal: string | null;
    spam: string | null;
  },
): Promise<StoredEvent> {
  const nid = known?.nid ?? await batch.deps.eventIds.next();
  const stateKeyNid = event.stateKey === null ? null : await batch.intern(event.type, event.stateKey);
  const changes = stateKeyNid !== null && refusal === null;
  const isMember = event.type === "m.room.member";
  return {
    nid,
    roomNid: batch.room.roomNid,
    event,
    json,
    position: null,
    receivedTs: batch.deps.clock.now(),
    isOutlier: false,
    isRejected: refusal !== null,
    isSoftFailed: spam !== null,
    stateBefore: before,
    stateAfter: changes ? await batch.setState(before, [{ nid: stateKeyNid, isMember, eventNid: nid }]) : before,
    stateKeyNid,
    authRank: rankAfter(auth),
    redactedByNid: null,
  };
}

/** Works out what the event changes in the room and adds it to the batch. */
async function addToRoom(
  deps: EngineDeps,
  { batch, stored, parents, wasOutlier, isSent }: {
    isSent: boolean;
    batch: RoomBatch;
    stored: StoredEvent;
    parents: Parents;
    wasOutlier: boolean;
  },
): Promise<void> {
  batch.stage(stored, parents.auth);
  const isAccepted = !stored.isRejected && !stored.isSoftFailed;
  const hasChildren = isAccepted && await batch.foresight.isWaitedFor(stored.event.eventId);
  const extremities = isAccepted
    ? await extremitiesAfter(batch, { stored, prev: parents.prev, hasChildren })
    : batch.extremities;
  const root = isAccepted
    ? await resolveRoots(deps, { batch, roots: extremities.map((end) => end.stateAfter ?? 0) })
    : batch.root;
  const redactedByNid = await findRedaction(batch, stored);
  const final = redactedByNid === null ? stored : { ...stored, redactedByNid };
  await batch.addResolved({
    stored: final,
    prev: parents.prev,
    missingPrev: parents.missingPrev,
    auth: parents.auth,
    wasOutlier,
    isSent,
    deltas: await currentDeltas(batch, { root, stored: final }),
    transaction: null,
    redacts: isAccepted ? await findRedacted(batch, final) : null,
  }, { root, extremities: extremities.map((end) => end.nid === final.nid ? final : end) });
}

async function addToHistory({ batch, stored, parents, wasOutlier }: {
  batch: RoomBatch;
  stored: StoredEvent;
  parents: Parents;
  wasOutlier: boolean;
}): Promise<void> {
  batch.stage(stored, parents.auth);
  const redactedByNid = await findRedaction(batch, stored);
  await batch.addResolved({
    stored: redactedByNid === null ? stored : { ...stored, redactedByNid },
    prev: parents.prev,
    missingPrev: parents.missingPrev,
    auth: parents.auth,
    ...{ wasOutlier, deltas: StateDeltas.NONE, transaction: null, isBackfill: true },
    redacts: stored.isRejected ? null : await findRedacted(batch, stored),
  }, { root: batch.root, extremities: batch.extremities });
}

/** Returns the event that a redaction applies to, if it is here already and may be redacted by it. */
async function findRedacted(batch: RoomBatch, redaction: StoredEvent): Promise<StoredEvent | null> {
  const { redacts } = redaction.event;
  const target = redacts === null ? undefined : (await batch.byId([redacts])).get(redacts);
  if (target === undefined || target.redactedByNid !== null) return null;
  return await applies(batch, { redaction, target }) ? target : null;
}

/** Returns the redaction that came before its target, if one applies. */
async function findRedaction(batch: RoomBatch, target: StoredEvent): Promise<number | null> {
  const { eventId } = target.event;
  const inBatch = batch.pending.filter(({ stored }) => stored.event.redacts === eventId).map(({ stored }) =>
    stored.nid
  );
  const nids = [...await batch.foresight.redactionsOf(eventId), ...inBatch];
  for (const redaction of (await batch.byNids(nids)).values()) {
    if (!redaction.isRejected && !redaction.isSoftFailed && await applies(batch, { redaction, target })) {
      return redaction.nid;
    }
  }
  return await redactionOfUser(batch, target);
}

async function applies(
  batch: RoomBatch,
  { redaction, target }: { redaction: StoredEvent; target: StoredEvent },
): Promise<boolean> {
  const root = redaction.stateBefore;
  if (root === null || redaction.roomNid !== target.roomNid) return false;
  const create = await batch.stateAt(root, CREATE);
  if (create === null) return false;
  const powerLevels = (await batch.stateAt(root, stateKeyOf("m.room.power_levels", "")))?.event;
  return mayRedact(redaction.event, { target: target.event, levels: { create: create.event, powerLevels } });
}
