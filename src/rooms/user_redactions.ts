/**
 * Kicks and bans that redact what their target has said (MSC4293): no redactions are sent, the member event stands for
 * them. https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4293-redact-on-ban.md
 *
 * What the target said since they last came in is redacted, the newest first, in spans that hold other writers up for a
 * moment only; a worker calls `redactSpan` until nothing is left. What arrives later is redacted as it comes.
 */
import { stateKeyOf } from "../protocol/event.ts";
import type { RoomEvent } from "../protocol/event.ts";
import type { UserId } from "../protocol/ids.ts";
import { getActionLevel, getRequiredLevel, getUserLevel } from "../protocol/power_levels.ts";
import type { Tx } from "../storage/database.ts";
import {
  redactEventsOfUser,
  selectSpanStart,
  updateUserRedaction,
  type UserRedaction,
} from "../storage/user_redactions.ts";
import type { RoomBatch } from "./batch.ts";
import type { EngineDeps } from "./engine_deps.ts";
import { membershipIn } from "./member_content.ts";
import { refreshRedacted } from "./persist.ts";
import type { StoredEvent } from "./types.ts";

/** The field of a member event that asks for it, and its name while it is not in the specification. */
export const REDACT_EVENTS_KEYS = ["redact_events", "org.matrix.msc4293.redact_events"] as const;

const CREATE = stateKeyOf("m.room.create", "");
const POWER_LEVELS = stateKeyOf("m.room.power_levels", "");
const SPAN_EVENTS = 1_000;
/** Changes of a name or a picture within a stay that are looked through for its start. */
const MAX_STAY_STEPS = 1_000;

/** Returns whose events a member event redacts if its sender has the power, or null. */
export function redactedUser({ type, stateKey, sender, content }: RoomEvent): UserId | null {
  if (type !== "m.room.member" || stateKey === null || stateKey === sender) return null;
  if (content.membership !== "ban" && content.membership !== "leave") return null;
  return REDACT_EVENTS_KEYS.some((key) => content[key] === true) ? stateKey as UserId : null;
}

/** Tells whether the sender of a member event has the power to redact, as a redaction in its place would need. */
export async function mayRedactUser(batch: RoomBatch, { event, stateBefore }: StoredEvent): Promise<boolean> {
  if (stateBefore === null) return false;
  const create = (await batch.stateAt(stateBefore, CREATE))?.event;
  if (create === undefined) return false;
  const levels = { create, powerLevels: (await batch.stateAt(stateBefore, POWER_LEVELS))?.event };
  const needed = Math.max(
    getActionLevel(levels, "redact"),
    getRequiredLevel(levels, { type: "m.room.redaction", isState: false }),
  );
  return getUserLevel(levels, event.sender) >= needed;
}

/** Returns the member event that redacts what a user of the room says now, or null: for events that come late. */
export async function redactionOfUser(batch: RoomBatch, { event }: StoredEvent): Promise<number | null> {
  if (event.type === "m.room.create") return null;
  const member = await batch.current("m.room.member", event.sender);
  if (member === null || member.event.eventId === event.eventId || redactedUser(member.event) === null) return null;
  return await mayRedactUser(batch, member) ? member.nid : null;
}

/** What follows from redactions elsewhere. Runs in the transaction that writes them. */
export type RedactedHandler = (tx: Tx, redacted: { roomNid: number; events: readonly StoredEvent[] }) => Promise<void>;

/** Redacts one more span of what is to be redacted; returns what is left to do, or null. */
export async function redactSpan(
  deps: EngineDeps,
  { redaction, onRedacted }: { redaction: UserRedaction; onRedacted: RedactedHandler },
): Promise<UserRedaction | null> {
  const { redactionNid, roomNid, upTo } = redaction;
  const room = await deps.events.room(roomNid);
  const member = await deps.events.getByNid(redactionNid);
  if (room === null || member === null) throw new Error(`There is no member event ${redactionNid}`);
  return await deps.queues.run(room.roomId, async (batch) => {
    const userId = redactedUser(member.event);
    const isDue = userId !== null && await mayRedactUser(batch, member);
    const after = isDue ? await stayBefore(batch, member) : upTo;
    const from = await selectSpanStart(deps.db, { roomNid, after, upTo, limit: SPAN_EVENTS });
    const left = from === null ? null : { ...redaction, upTo: from - 1 };
    batch.addWrite(async (tx) => {
      await updateUserRedaction(tx, { redactionNid, upTo: left?.upTo ?? null });
      if (from === null || userId === null) return;
      const nids = await redactEventsOfUser(tx, { roomNid, userId, redactionNid, from, upTo });
      const events = [...(await deps.events.byNid(nids)).values()];
      await onRedacted(tx, { roomNid, events });
      tx.afterCommit(() => applyToCaches(deps, { roomId: room.roomId, redactionNid, events }));
    });
    return left;
  });
}

function applyToCaches(
  { events: store, heads }: EngineDeps,
  { roomId, redactionNid, events }: {
    roomId: StoredEvent["event"]["roomId"];
    redactionNid: number;
    events: readonly StoredEvent[];
  },
): void {
  const final = new Map(events.map((stored) => [stored.nid, { ...stored, redactedByNid: redactionNid }]));
  for (const stored of final.values()) store.put(stored);
  const copy = heads.peek(roomId);
  if (copy !== undefined) refreshRedacted(copy.state, final);
}

/** Returns the position of the event by which the target last was out of the room before they came in; 0 if never. */
async function stayBefore(batch: RoomBatch, { event, stateBefore }: StoredEvent): Promise<number> {
  const key = stateKeyOf("m.room.member", event.stateKey ?? "");
  let root = stateBefore;
  for (let step = 0; root !== null && step < MAX_STAY_STEPS; step++) {
    const member: StoredEvent | null = await batch.stateAt(root, key);
    if (member === null) return 0;
    if (membershipIn(member) !== "join") return member.position ?? 0;
    root = member.stateBefore;
  }
  return 0;
}
