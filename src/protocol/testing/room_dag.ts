/**
 * Rooms for tests of the authorization rules and state resolution: unsigned events with ids as readable as "$alice-join".
 */
import { selectAuthKeys } from "../auth_events.ts";
import { authorizeEvent } from "../auth_rules.ts";
import type { AuthDecision } from "../auth_rules_context.ts";
import { type Pdu, type RoomEvent, type StateKey, stateKeyOf, type StateMap } from "../event.ts";
import type { EventId, RoomId, UserId } from "../ids.ts";
import type { JsonObject } from "../json.ts";
import type { RoomVersionRules } from "../room_versions.ts";

/** An event as tests write it. */
export interface EventSpec {
  readonly id: string;
  readonly type: string;
  readonly sender: string;
  readonly stateKey?: string | null;
  readonly content?: JsonObject;
  readonly auth?: readonly string[];
  readonly prev?: readonly string[];
  readonly ts?: number;
  readonly depth?: number;
  readonly redacts?: string;
  readonly room?: string;
}

/** Makes an event; the create event is taken out of `auth` where the room version wants that. */
export function makeEvent(rules: RoomVersionRules, spec: EventSpec): RoomEvent {
  const { id, type, sender, content = {}, ts = 0, depth = 1 } = spec;
  const stateKey = spec.stateKey ?? null;
  const auth = (spec.auth ?? []).filter((authId) => !rules.roomIdIsCreateHash || authId !== "$create");
  const roomId = (spec.room ?? (rules.roomIdIsCreateHash ? "!create" : "!room:a")) as RoomId;
  const omitsRoomId = rules.roomIdIsCreateHash && type === "m.room.create";
  const pdu: Pdu = {
    type,
    sender,
    content,
    depth,
    origin_server_ts: ts,
    ...(stateKey !== null && { state_key: stateKey }),
    ...(!omitsRoomId && { room_id: roomId }),
  };
  return {
    eventId: id as EventId,
    roomId,
    rules,
    type,
    stateKey,
    sender: sender as UserId,
    content,
    depth,
    originServerTs: ts,
    prevEvents: (spec.prev ?? []) as EventId[],
    authEvents: auth as EventId[],
    redacts: (spec.redacts ?? null) as EventId | null,
    pdu,
  };
}

/** Returns the state key of a state event. */
export function keyOfEvent(event: RoomEvent): StateKey {
  return stateKeyOf(event.type, event.stateKey ?? "");
}

/** A room in the making, whose branches each have a state. */
export class RoomDag {
  readonly rules: RoomVersionRules;
  readonly events = new Map<EventId, RoomEvent>();
  readonly create: RoomEvent;

  constructor(rules: RoomVersionRules, { creator, content = {} }: { creator: string; content?: JsonObject }) {
    this.rules = rules;
    this.create = makeEvent(rules, {
      id: "$create",
      type: "m.room.create",
      sender: creator,
      stateKey: "",
      content: { room_version: rules.id, ...(rules.creatorInContent && { creator }), ...content },
    });
    this.events.set(this.create.eventId, this.create);
  }

  /** Returns the state after the create event. */
  start(): Map<StateKey, EventId> {
    return new Map([[keyOfEvent(this.create), this.create.eventId]]);
  }

  /** Makes an event that rests on `state`, which is not changed. */
  build(state: StateMap<EventId>, spec: EventSpec): RoomEvent {
    const content = spec.content ?? {};
    const keys = selectAuthKeys(this.rules, {
      type: spec.type,
      sender: spec.sender,
      stateKey: spec.stateKey ?? null,
      content,
    });
    const auth = keys.map((key) => state.get(key)).filter((id) => id !== undefined);
    const event = makeEvent(this.rules, { auth, ...spec });
    this.events.set(event.eventId, event);
    return event;
  }

  /** Decides on an event in a state. */
  check(state: StateMap<EventId>, event: RoomEvent): AuthDecision {
    return authorizeEvent({
      event,
      create: event.type === "m.room.create" ? null : this.create,
      authState: (type, stateKey) => {
        const id = state.get(stateKeyOf(type, stateKey));
        return id === undefined ? undefined : this.events.get(id);
      },
      verifyThirdPartyInvite: () => true,
    });
  }

  /** Builds an event and, where it is allowed, puts it into `state`; returns it, or null when it is not allowed. */
  send(state: Map<StateKey, EventId>, spec: EventSpec): RoomEvent | null {
    const event = this.build(state, spec);
    if (!this.check(state, event).allowed) {
      this.events.delete(event.eventId);
      return null;
    }
    if (event.stateKey !== null) state.set(keyOfEvent(event), event.eventId);
    return event;
  }
}
