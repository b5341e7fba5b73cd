/** A sliding sync client for tests: sends what it is told and keeps the position. */
import type { Json, TestClient } from "./client.ts";

/** The path that clients use. */
export const SLIDING_SYNC = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";

/** The body of a request for the first rooms of all. */
export function allRooms(
  { to = 19, limit = 10, state = [], filters }: {
    to?: number;
    limit?: number;
    state?: readonly (readonly [string, string])[];
    filters?: Json;
  } = {},
): Json {
  const list = { ranges: [[0, to]], timeline_limit: limit, required_state: state, ...(filters ? { filters } : {}) };
  return { lists: { all: list } };
}

/** One connection. */
export class SlidingClient {
  client: TestClient;
  pos: string | null = null;

  constructor(client: TestClient) {
    this.client = client;
  }

  /** Syncs once and moves on. */
  async sync(body: Json, { timeout = 0 }: { timeout?: number } = {}): Promise<Json> {
    const response = await this.peek(body, { timeout });
    this.pos = response.pos;
    return response;
  }

  /** Syncs as if the response got lost. */
  async peek(body: Json, { timeout = 0 }: { timeout?: number } = {}): Promise<Json> {
    const query = { timeout, ...(this.pos === null ? {} : { pos: this.pos }) };
    return await this.client.ok("POST", SLIDING_SYNC, { body, query });
  }
}

/** Returns the bodies of a room's messages. */
export function bodies(room: Json): string[] {
  return room.timeline.filter((event: Json) => event.type === "m.room.message").map((event: Json) =>
    event.content.body
  );
}

/** Returns the types and state keys of a room's state, sorted. */
export function stateOf(room: Json): string[] {
  return (room.required_state ?? []).map((event: Json) => `${event.type}|${event.state_key}`).sort();
}
