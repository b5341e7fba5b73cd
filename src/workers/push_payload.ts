/** What push gateways are told of an event. Spec: Push Gateway API, `POST /_matrix/push/v1/notify`. */
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { Pusher } from "../storage/pushers.ts";
import type { RoomTitles } from "./room_titles.ts";

/** What payloads are made from. */
export interface PushPayloadsDeps {
  readonly titles: RoomTitles;
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

/** Makes payloads. */
export class PushPayloads {
  readonly #deps: PushPayloadsDeps;

  constructor(deps: PushPayloadsDeps) {
    this.#deps = deps;
  }

  /** Returns the notification of an event, in the format that the pusher asks for. */
  async ofEvent({ pusher, stored, actions, badge }: PushedEvent): Promise<JsonObject> {
    const { titles, includeContent } = this.#deps;
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
    const senderName = await titles.member(stored, event.sender);
    const roomName = await titles.room(stored, pusher.userId);
    const isMember = event.type === "m.room.member" && event.stateKey !== null;
    return {
      ...common,
      // What gateways knew before `event_id`.
      id: event.eventId,
      type: event.type,
      sender: event.sender,
      sender_display_name: senderName,
      ...(roomName === null ? {} : { room_name: roomName }),
      ...(isMember ? { membership: event.content.membership ?? null } : {}),
      ...(isMember ? { user_is_target: event.stateKey === pusher.userId } : {}),
      ...(includeContent ? { content: { ...event.content } } : {}),
      devices: [deviceOf(pusher, tweaks)],
    };
  }

  /** Returns the notification that only carries the badge. */
  ofBadge(pusher: Pusher, badge: number): JsonObject {
    // Gateways expect these keys of every notification.
    return { id: "", type: null, sender: "", counts: { unread: badge }, devices: [deviceOf(pusher, {})] };
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
