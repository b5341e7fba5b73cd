/** Asking other servers for events and states. Spec: server-server API, "Retrieving events", "Backfilling". */
import type { EventId, RoomId, ServerName } from "../protocol/ids.ts";
import { parseEventId } from "../protocol/ids.ts";
import type { JsonObject, JsonValue } from "../protocol/json.ts";
import type { FederationClient } from "./client.ts";
import { badAnswer } from "./remote_error.ts";

/** A state before an event, and what authorizes it. */
export interface RemoteStateIds {
  readonly stateIds: readonly EventId[];
  readonly authIds: readonly EventId[];
}

const MAX_EVENT_BYTES = 1024 * 1024;
const MAX_LIST_BYTES = 16 * 1024 * 1024;
/** States of large rooms are some hundred bytes for each of some ten thousand members. */
const MAX_STATE_BYTES = 256 * 1024 * 1024;
const MAX_STATE_IDS = 500_000;
const STATE_TIMEOUT_MS = 120_000;
/** Somebody waits for it. */
const NEAREST_TIMEOUT_MS = 10_000;
const RELATED_TIMEOUT_MS = 10_000;

/** Typed requests for events. Answers are unchecked PDUs, with numbers as they were written. */
export class RemoteEvents {
  readonly #client: FederationClient;

  constructor(client: FederationClient) {
    this.#client = client;
  }

  /** Returns one event. */
  async event(server: ServerName, eventId: EventId): Promise<JsonValue> {
    const path = `/_matrix/federation/v1/event/${encodeURIComponent(eventId)}`;
    const answer = await this.#get(server, { path, maxBytes: MAX_EVENT_BYTES });
    const [pdu] = listOf(server, answer["pdus"]);
    if (pdu === undefined) throw badAnswer(server, "The answer has no event");
    return pdu;
  }

  /** Returns the auth chain of an event. */
  async eventAuth(server: ServerName, { roomId, eventId }: { roomId: RoomId; eventId: EventId }): Promise<JsonValue[]> {
    const path = `/_matrix/federation/v1/event_auth/${encodeURIComponent(roomId)}/${encodeURIComponent(eventId)}`;
    return listOf(server, (await this.#get(server, { path, maxBytes: MAX_LIST_BYTES }))["auth_chain"]);
  }

  /** Returns the ids of the state before an event and of its auth chain. */
  async stateIds(
    server: ServerName,
    { roomId, eventId }: { roomId: RoomId; eventId: EventId },
  ): Promise<RemoteStateIds> {
    const path = `/_matrix/federation/v1/state_ids/${encodeURIComponent(roomId)}?event_id=${
      encodeURIComponent(eventId)
    }`;
    const answer = await this.#get(server, { path, maxBytes: MAX_LIST_BYTES * 2, timeoutMs: STATE_TIMEOUT_MS });
    return { stateIds: idsOf(server, answer["pdu_ids"]), authIds: idsOf(server, answer["auth_chain_ids"]) };
  }

  /** Returns the state before an event and its auth chain, all events in full. */
  async state(
    server: ServerName,
    { roomId, eventId }: { roomId: RoomId; eventId: EventId },
  ): Promise<{ state: JsonValue[]; authChain: JsonValue[] }> {
    const path = `/_matrix/federation/v1/state/${encodeURIComponent(roomId)}?event_id=${encodeURIComponent(eventId)}`;
    const answer = await this.#get(server, { path, maxBytes: MAX_STATE_BYTES, timeoutMs: STATE_TIMEOUT_MS });
    return { state: listOf(server, answer["pdus"]), authChain: listOf(server, answer["auth_chain"]) };
  }

  /** Returns events between `latest` and `earliest`. */
  async missing(
    server: ServerName,
    { roomId, earliest, latest, limit }: {
      roomId: RoomId;
      earliest: readonly EventId[];
      latest: readonly EventId[];
      limit: number;
    },
  ): Promise<JsonValue[]> {
    const answer = await this.#client.request({
      server,
      method: "POST",
      path: `/_matrix/federation/v1/get_missing_events/${encodeURIComponent(roomId)}`,
      body: { earliest_events: [...earliest], latest_events: [...latest], limit, min_depth: 0 },
      maxBytes: MAX_LIST_BYTES,
      exactNumbers: true,
      ignoreBackoff: true,
    });
    return listOf(server, answer["events"]);
  }

  /** Returns events before some events, those included. */
  async backfill(
    server: ServerName,
    { roomId, from, limit }: { roomId: RoomId; from: readonly EventId[]; limit: number },
  ): Promise<JsonValue[]> {
    const query = new URLSearchParams([...from.map((id) => ["v", id]), ["limit", String(limit)]]);
    const path = `/_matrix/federation/v1/backfill/${encodeURIComponent(roomId)}?${query}`;
    return listOf(server, (await this.#get(server, { path, maxBytes: MAX_LIST_BYTES }))["pdus"]);
  }

  /** Returns the event nearest to a time that the server knows. Throws also when it knows none. */
  async nearest(
    server: ServerName,
    { roomId, ts, backwards }: { roomId: RoomId; ts: number; backwards: boolean },
  ): Promise<{ eventId: EventId; originServerTs: number }> {
    const path = `/_matrix/federation/v1/timestamp_to_event/${encodeURIComponent(roomId)}?ts=${ts}&dir=${
      backwards ? "b" : "f"
    }`;
    const answer = await this.#get(server, { path, maxBytes: MAX_EVENT_BYTES, timeoutMs: NEAREST_TIMEOUT_MS });
    const { event_id: text, origin_server_ts: originServerTs } = answer;
    const eventId = typeof text === "string" ? parseEventId(text) : null;
    if (eventId === null || typeof originServerTs !== "number" || !Number.isSafeInteger(originServerTs)) {
      throw badAnswer(server, "The answer has no event id with a time");
    }
    return { eventId, originServerTs };
  }

  /** Returns events that are related to one, with what authorizes them (MSC2836). */
  async related(server: ServerName, body: JsonObject): Promise<{ events: JsonValue[]; authChain: JsonValue[] }> {
    const answer = await this.#client.request({
      ...{ server, method: "POST", path: "/_matrix/federation/unstable/event_relationships", body },
      ...{ maxBytes: MAX_LIST_BYTES, timeoutMs: RELATED_TIMEOUT_MS, exactNumbers: true, ignoreBackoff: true },
    });
    return { events: listOf(server, answer["events"]), authChain: listOf(server, answer["auth_chain"]) };
  }

  async #get(
    server: ServerName,
    request: { path: string; maxBytes: number; timeoutMs?: number },
  ): ReturnType<FederationClient["request"]> {
    return await this.#client.request({ server, method: "GET", exactNumbers: true, ignoreBackoff: true, ...request });
  }
}

function listOf(server: ServerName, value: JsonValue | undefined): JsonValue[] {
  if (!Array.isArray(value)) throw badAnswer(server, "The answer has no list of events");
  return value;
}

function idsOf(server: ServerName, value: JsonValue | undefined): EventId[] {
  const list = listOf(server, value);
  if (list.length > MAX_STATE_IDS) throw badAnswer(server, "The answer has too many ids");
  return list.flatMap((text) => {
    const eventId = typeof text === "string" ? parseEventId(text) : null;
    return eventId === null ? [] : [eventId];
  });
}
