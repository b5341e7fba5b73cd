/** What push gateways are told of an event. Spec: Push Gateway API, `POST /_matrix/push/v1/notify`. */
import type { UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { StateReader } from "../rooms/state_reader.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { Db } from "../storage/database.ts";
import { selectFirstMembers } from "../storage/memberships.ts";
import type { Pusher } from "../storage/pushers.ts";

/** What payloads are made from. */
export interface PushPayloadsDeps {
  readonly db: Db;
  readonly events: EventStore;
  readonly state: StateReader;
  /** Synapse's `push.include_content`. */
  readonly includeContent: boolean;
}

/** An event to push. */
export interface PushedEvent {
  readonly pusher: Pusher;
  readonly stored: StoredEvent;
  readonly actions: readonly JsonValue[];
  readonly badge: number;
}

/** Members whose names stand for a room that has none. */
const NAMED_MEMBERS = 3;

/** Makes payloads. */
export class PushPayloads {
  readonly #deps: PushPayloadsDeps;

  constructor(deps: PushPayloadsDeps) {
    this.#deps = deps;
  }

  /** Returns the notification of an event, in the format that the pusher asks for. */
  async ofEvent({ pusher, stored, actions, badge }: PushedEvent): Promise<JsonObject> {
    const { event } = stored;
    const tweaks = tweaksOf(actions);
    const isUrgent = event.type === "m.room.encrypted" || Boolean(tweaks.highlight) || Boolean(tweaks.sound);
    const common = {
      event_id: event.eventId,
      room_id: event.roomId,
      prio: isUrgent ? "high" : "low",
      counts: { unread: badge },
    };
    if (pusher.data.format === "event_id_only") return { ...common, devices: [deviceOf(pusher, {})] };
    const senderName = await this.#nameOf(stored, event.sender);
    const roomName = await this.#roomName(stored, pusher.userId);
    const isMember = event.type === "m.room.member" && event.stateKey !== null;
    return {
      ...common,
      // What gateways knew before `event_id`.
      id: event.eventId,
      type: event.type,
      sender: event.sender,
      ...(senderName === null ? {} : { sender_display_name: senderName }),
      ...(roomName === null ? {} : { room_name: roomName }),
      ...(isMember ? { membership: event.content.membership ?? null } : {}),
      ...(isMember ? { user_is_target: event.stateKey === pusher.userId } : {}),
      ...(this.#deps.includeContent ? { content: { ...event.content } } : {}),
      devices: [deviceOf(pusher, tweaks)],
    };
  }

  /** Returns the notification that only carries the badge. */
  ofBadge(pusher: Pusher, badge: number): JsonObject {
    // Gateways expect these keys of every notification.
    return { id: "", type: null, sender: "", counts: { unread: badge }, devices: [deviceOf(pusher, {})] };
  }

  async #nameOf({ stateAfter }: StoredEvent, userId: UserId): Promise<string | null> {
    const member = stateAfter === null ? null : await this.#deps.state.get(stateAfter, "m.room.member", userId);
    return textIn(member?.event.content.displayname) ?? userId;
  }

  /** Returns the room's name, its alias, or the names of those in it; null for a conversation of two. */
  async #roomName({ stateAfter, roomNid }: StoredEvent, userId: UserId): Promise<string | null> {
    const { db, events, state } = this.#deps;
    if (stateAfter === null) return null;
    const name = textIn((await state.get(stateAfter, "m.room.name", ""))?.event.content.name);
    if (name !== null) return name;
    const alias = textIn((await state.get(stateAfter, "m.room.canonical_alias", ""))?.event.content.alias);
    if (alias !== null) return alias;
    const limit = NAMED_MEMBERS + 2;
    const members = await selectFirstMembers(db, { roomNid, memberships: ["join", "invite"], limit });
    const others = members.filter((member) => member.userId !== userId);
    if (others.length < 2) return null;
    const stored = await events.byNid(others.map(({ eventNid }) => eventNid));
    const names = others.slice(0, NAMED_MEMBERS).map((member) =>
      textIn(stored.get(member.eventNid)?.event.content.displayname) ?? member.userId
    );
    return others.length > NAMED_MEMBERS ? `${names.join(", ")} and others` : names.join(", ");
  }
}

function deviceOf(pusher: Pusher, tweaks: JsonObject): JsonObject {
  const { url: _url, ...data } = pusher.data;
  return {
    app_id: pusher.appId,
    pushkey: pusher.pushkey,
    pushkey_ts: Math.floor(pusher.pushkeyTs / 1000),
    data,
    ...(Object.keys(tweaks).length === 0 ? {} : { tweaks }),
  };
}

/** A tweak without a value is `true`. Spec: "Actions". */
function tweaksOf(actions: readonly JsonValue[]): JsonObject {
  const tweaks: JsonObject = {};
  for (const action of actions) {
    if (isJsonObject(action) && typeof action.set_tweak === "string") tweaks[action.set_tweak] = action.value ?? true;
  }
  return tweaks;
}

function textIn(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}
