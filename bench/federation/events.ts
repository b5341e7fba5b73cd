/** Events of servers that do not exist, made and put into rooms for the benches of federation. */
import { selectAuthKeys } from "../../src/protocol/auth_events.ts";
import { buildEvent, type BuiltEvent } from "../../src/protocol/event_builder.ts";
import { stateKeyOf } from "../../src/protocol/event.ts";
import type { EventId, RoomId, UserId } from "../../src/protocol/ids.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import type { Signer } from "../../src/protocol/signatures.ts";
import type { RoomEngine } from "../../src/rooms/engine.ts";
import type { StateReader } from "../../src/rooms/state_reader.ts";

/** What reads and writes a room. */
export interface RoomParts {
  readonly engine: RoomEngine;
  readonly state: StateReader;
}

/** What an event says; where it stands is worked out. */
export interface Said {
  readonly type: string;
  readonly sender: UserId;
  readonly stateKey: string | null;
  readonly content: JsonObject;
}

/** Where a chain of events begins. */
export interface Place {
  readonly eventId: EventId;
  readonly depth: number;
}

const CHUNK = 250;

/** Returns an end of a room's graph. */
export async function endOf({ engine }: RoomParts, roomId: RoomId): Promise<Place> {
  const end = (await engine.head(roomId))?.extremities[0];
  if (end === undefined) throw new Error("The room is not there");
  return end;
}

/** Makes events, each on top of the one before, authorized by the current state and by those made before. */
export async function makeChain(
  parts: RoomParts,
  { roomId, from, said, signer, ts = Date.now() }: {
    roomId: RoomId;
    /** An end of the room unless given. */
    from?: Place;
    said: readonly Said[];
    signer: Signer;
    /** The time of the first event; each is a millisecond later than the one before. */
    ts?: number;
  },
): Promise<BuiltEvent[]> {
  const head = await parts.engine.head(roomId);
  if (head === null) throw new Error("The room is not there");
  const { rules } = head;
  const made = new Map<string, EventId>();
  const built: BuiltEvent[] = [];
  let last = from ?? await endOf(parts, roomId);
  for (const each of said) {
    const keys = selectAuthKeys(rules, each);
    const known = await parts.state.getMany(head.stateRoot, keys.filter((key) => !made.has(key)));
    const { event, json } = buildEvent({
      ...{ rules, roomId, ...each, ...signer },
      ...{ prevEvents: [last.eventId], depth: last.depth + 1, originServerTs: ts + built.length },
      authEvents: keys.map((key) => made.get(key) ?? known.get(key)?.event.eventId).filter((id) => id !== undefined),
    });
    built.push({ event, json });
    if (event.stateKey !== null) made.set(stateKeyOf(event.type, event.stateKey), event.eventId);
    last = event;
  }
  return built;
}

/** Puts events into a room without their servers, and makes sure that all are accepted. */
export async function receive(
  { engine }: RoomParts,
  { roomId, events }: { roomId: RoomId; events: readonly BuiltEvent[] },
): Promise<void> {
  for (let start = 0; start < events.length; start += CHUNK) {
    const outcomes = await engine.receiveEvents(roomId, events.slice(start, start + CHUNK));
    const bad = outcomes.find(({ kind }) => kind !== "accepted");
    if (bad !== undefined) throw new Error(`An event was not taken: ${JSON.stringify(bad)}`);
  }
}
