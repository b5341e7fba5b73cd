/** What rooms and senders are called in notifications, as the user they are for sees them. */
import type { UserId } from "../protocol/ids.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { StateReader } from "../rooms/state_reader.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { Db } from "../storage/database.ts";
import { selectFirstMembers } from "../storage/memberships.ts";

/** What names are found with. */
export interface RoomTitlesDeps {
  readonly db: Db;
  readonly events: EventStore;
  readonly state: StateReader;
}

/** Members whose names stand for a room that has none. */
const NAMED_MEMBERS = 3;

/** Finds names. */
export class RoomTitles {
  readonly #deps: RoomTitlesDeps;

  constructor(deps: RoomTitlesDeps) {
    this.#deps = deps;
  }

  /** Returns what somebody is called in an event's room. */
  async member({ stateAfter }: Pick<StoredEvent, "stateAfter">, userId: UserId): Promise<string> {
    const member = stateAfter === null ? null : await this.#deps.state.get(stateAfter, "m.room.member", userId);
    return textIn(member?.event.content.displayname) ?? userId;
  }

  /** Returns the name or the alias that a room was given. */
  async given({ stateAfter }: Pick<StoredEvent, "stateAfter">): Promise<string | null> {
    const { state } = this.#deps;
    if (stateAfter === null) return null;
    const name = textIn((await state.get(stateAfter, "m.room.name", ""))?.event.content.name);
    return name ?? textIn((await state.get(stateAfter, "m.room.canonical_alias", ""))?.event.content.alias);
  }

  /** Returns the room's name, its alias, or the names of those in it; null for a conversation of two. */
  async room(stored: Pick<StoredEvent, "stateAfter" | "roomNid">, userId: UserId): Promise<string | null> {
    const { db, events } = this.#deps;
    if (stored.stateAfter === null) return null;
    const given = await this.given(stored);
    if (given !== null) return given;
    const limit = NAMED_MEMBERS + 2;
    const { roomNid } = stored;
    const members = await selectFirstMembers(db, { roomNid, memberships: ["join", "invite"], limit });
    const others = members.filter((member) => member.userId !== userId);
    if (others.length < 2) return null;
    const found = await events.byNid(others.map(({ eventNid }) => eventNid));
    const names = others.slice(0, NAMED_MEMBERS).map((member) =>
      textIn(found.get(member.eventNid)?.event.content.displayname) ?? member.userId
    );
    return others.length > NAMED_MEMBERS ? `${names.join(", ")} and others` : names.join(", ");
  }
}

function textIn(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}
