/**
 * A room's state and members as clients ask for them. Spec: client-server API, "Getting events for a room".
 *
 * Members get the current state, people who left the state in which they left.
 */
import { forbidden, notFound } from "../protocol/errors.ts";
import type { JsonValue } from "../protocol/json.ts";
import type { Db } from "../storage/database.ts";
import { MIN_POSITION, selectHistoryForward, selectTimelineTail, WHOLE_ROOM } from "../storage/timeline.ts";
import type { RoomToken } from "../streams/tokens.ts";
import type { EventStore } from "./event_store.ts";
import type { EventRenderer } from "./renderer.ts";
import type { Reading, RoomAccess } from "./room_access.ts";
import type { StateReader } from "./state_reader.ts";
import type { Membership } from "./types.ts";
import { parseMembership } from "./visibility.ts";

/** What reading state is built from. */
export interface RoomStateDeps {
  readonly db: Db;
  readonly events: EventStore;
  readonly state: StateReader;
  readonly renderer: EventRenderer;
}

/** Which members to list. */
export interface MembersRequest {
  readonly at: RoomToken | null;
  readonly membership: Membership | null;
  readonly notMembership: Membership | null;
}

/** Reads state for clients. */
export class RoomState {
  readonly #deps: RoomStateDeps;

  constructor(deps: RoomStateDeps) {
    this.#deps = deps;
  }

  /** Returns all state events, as the text of a JSON array. */
  async all({ requester, access }: Reading): Promise<string> {
    const { state, renderer } = this.#deps;
    const events = await state.entries(access.root);
    return `[${(await renderer.render(events, { requester, roomId: true, previous: false })).join(",")}]`;
  }

  /** Returns the content of one piece of state, or with `whole` the event, as text. Throws 404 when there is none. */
  async one(
    { requester, access }: Reading,
    { type, stateKey, whole }: { type: string; stateKey: string; whole: boolean },
  ): Promise<string> {
    const { state, renderer } = this.#deps;
    const stored = await state.get(access.root, type, stateKey);
    if (stored === null) throw notFound("Event not found");
    if (!whole) return renderer.contentText(stored);
    return await renderer.renderOne(stored, { requester, roomId: true, previous: true });
  }

  /** Returns the response body of `/members`, as text. */
  async members({ requester, access }: Reading, request: MembersRequest): Promise<string> {
    const { state, renderer } = this.#deps;
    const root = request.at === null ? access.root : await this.#rootAt(access, request.at);
    const events = (await state.entries(root, "members")).filter(({ event }) => {
      const membership = parseMembership(event.content.membership);
      return (request.membership === null || membership === request.membership) && membership !== request.notMembership;
    });
    const chunk = await renderer.render(events, { requester, roomId: true, previous: false });
    return `{"chunk":[${chunk.join(",")}]}`;
  }

  /** Returns the response body of `/joined_members`, as text. Throws 403 for those who are not joined. */
  async joinedMembers({ access }: Reading): Promise<string> {
    if (access.kind !== "joined") throw forbidden("You are not a member of the room");
    const parts: string[] = [];
    for (const { event } of await this.#deps.state.entries(access.root, "members")) {
      if (event.content.membership !== "join") continue;
      const name = textOrNull(event.content.displayname);
      const avatar = textOrNull(event.content.avatar_url);
      parts.push(`${JSON.stringify(event.stateKey)}:{"display_name":${name},"avatar_url":${avatar}}`);
    }
    return `{"joined":{${parts.join(",")}}}`;
  }

  /** Returns the root of the state after the last event at a token. */
  async #rootAt({ room: { roomNid }, root, upTo }: RoomAccess, token: RoomToken): Promise<number> {
    const { db } = this.#deps;
    const position = upTo === null ? token.position : Math.min(upTo, token.position);
    const [latest] = await selectTimelineTail(db, { roomNid, after: MIN_POSITION, upTo: position, limit: 1 });
    // A point before the room began counts as its beginning: created, and its creator joined.
    const row = latest ?? (await selectHistoryForward(db, { roomNid, ...WHOLE_ROOM, limit: 2 })).pop();
    if (row === undefined) return 0;
    const stored = await this.#deps.events.getByNid(row.nid);
    return stored?.stateAfter ?? root;
  }
}

function textOrNull(value: JsonValue | undefined): string {
  return typeof value === "string" ? JSON.stringify(value) : "null";
}
