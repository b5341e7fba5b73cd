/**
 * Signed graphs of events by users of other servers, for engine tests without HTTP: forks, late events, bans that race.
 *
 * A builder starts from a room that the engine has made and keeps the state at each event by itself, the simple way: the
 * parents' states laid over each other in the order given. It need not be right to be useful, because what it is for is
 * choosing auth events; `auth` overrides the choice.
 */
import { randomBytes } from "node:crypto";
import { selectAuthKeys } from "../../src/protocol/auth_events.ts";
import { type RoomEvent, type StateKey, stateKeyOf } from "../../src/protocol/event.ts";
import { buildEvent } from "../../src/protocol/event_builder.ts";
import { hasReferencePairs } from "../../src/protocol/event_format.ts";
import { referenceHash } from "../../src/protocol/hashes.ts";
import type { EventId, RoomId, ServerName, UserId } from "../../src/protocol/ids.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import { signingKeyFromSeed } from "../../src/protocol/signatures.ts";
import type { ReceivedEvent } from "../../src/rooms/receive.ts";
import type { TestEngine } from "./engine.ts";

/** The server of the builder's users. */
export const REMOTE_SERVER = "remote.example" as ServerName;

const KEY = signingKeyFromSeed("remote", randomBytes(32));

/** An event to make. */
export interface BuilderTemplate {
  readonly sender: UserId;
  readonly type: string;
  readonly stateKey?: string;
  readonly content?: JsonObject;
  readonly redacts?: EventId;
  /** Parents; the last event made when absent. */
  readonly prev?: readonly ReceivedEvent[];
  readonly auth?: readonly RoomEvent[];
  /** Milliseconds. */
  readonly ts?: number;
}

/** Makes events on top of a room. */
export class RoomBuilder {
  readonly #room: RoomEvent;
  readonly #states = new Map<EventId, ReadonlyMap<StateKey, RoomEvent>>();
  #last: ReceivedEvent;
  #time = 1_700_000_000_000;

  private constructor(
    { create, end, state }: { create: RoomEvent; end: ReceivedEvent; state: ReadonlyMap<StateKey, RoomEvent> },
  ) {
    this.#room = create;
    this.#last = end;
    this.#states.set(end.event.eventId, state);
  }

  /** Starts at the only end of a room's graph. */
  static async from({ engine, state, events }: TestEngine, roomId: RoomId): Promise<RoomBuilder> {
    const head = await engine.head(roomId);
    const [end, ...more] = head?.extremities ?? [];
    const stored = end === undefined ? null : await events.getByNid(end.nid);
    if (head === null || stored === null || more.length > 0) throw new Error("The room has not one end");
    const entries = await state.entries(head.stateRoot);
    const map = new Map(entries.map(({ event }) => [stateKeyOf(event.type, event.stateKey ?? ""), event]));
    const create = map.get(stateKeyOf("m.room.create", ""));
    if (create === undefined) throw new Error("The room has no create event");
    return new RoomBuilder({ create, end: { event: stored.event, json: stored.json }, state: map });
  }

  /** The last event made, or the one started from. */
  get last(): ReceivedEvent {
    return this.#last;
  }

  /** Makes an event. */
  add(template: BuilderTemplate): ReceivedEvent {
    const { rules, roomId } = this.#room;
    const prev = template.prev ?? [this.#last];
    const state = this.#stateAfter(prev);
    const query = { ...template, stateKey: template.stateKey ?? null, content: template.content ?? {} };
    const auth = template.auth ?? selectAuthKeys(rules, query).flatMap((key) => state.get(key) ?? []);
    const referenced = [...prev.map(({ event }) => event), ...auth];
    const built = buildEvent({
      rules,
      roomId,
      ...query,
      depth: Math.max(...prev.map(({ event }) => event.depth)) + 1,
      prevEvents: prev.map(({ event }) => event.eventId),
      authEvents: auth.map((event) => event.eventId),
      originServerTs: template.ts ?? this.#time++,
      ...(hasReferencePairs(rules)
        ? {
          eventId: `$${this.#time}:${REMOTE_SERVER}` as EventId,
          referenceHashes: new Map(referenced.map((event) => [event.eventId, referenceHash(event.pdu, rules)])),
        }
        : {}),
      serverName: REMOTE_SERVER,
      key: KEY,
    });
    const after = new Map(state);
    if (query.stateKey !== null) after.set(stateKeyOf(query.type, query.stateKey), built.event);
    this.#states.set(built.event.eventId, after);
    this.#last = built;
    return built;
  }

  /** Makes a message. */
  message(sender: UserId, body: string, prev?: readonly ReceivedEvent[]): ReceivedEvent {
    const content = { msgtype: "m.text", body };
    return this.add({ sender, type: "m.room.message", content, ...(prev === undefined ? {} : { prev }) });
  }

  /** Makes a membership event of the sender's own, or of `target`. */
  member(
    sender: UserId,
    membership: string,
    { target = sender, prev }: { target?: UserId; prev?: readonly ReceivedEvent[] } = {},
  ): ReceivedEvent {
    return this.add({
      sender,
      type: "m.room.member",
      stateKey: target,
      content: { membership },
      ...(prev === undefined ? {} : { prev }),
    });
  }

  #stateAfter(prev: readonly ReceivedEvent[]): Map<StateKey, RoomEvent> {
    const state = new Map<StateKey, RoomEvent>();
    for (const { event } of prev) {
      for (const [key, value] of this.#states.get(event.eventId) ?? []) state.set(key, value);
    }
    return state;
  }
}

/** Returns the user of that name on the builder's server. */
export function remoteUser(name: string): UserId {
  return `@${name}:${REMOTE_SERVER}` as UserId;
}
