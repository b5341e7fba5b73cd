/** What administrators look up about users, as in Synapse's admin API. */
import { nextTurn } from "../lib/turn.ts";
import { notFound } from "../protocol/errors.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import { selectAccountDataBetween } from "../storage/account_data.ts";
import type { Database } from "../storage/database.ts";
import { type ExternalId, selectUserByExternalId } from "../storage/external_ids.ts";
import { selectPushers } from "../storage/pushers.ts";
import { MAX_POSITION } from "../storage/timeline.ts";
import { selectUsersByPart } from "../storage/user_listing.ts";
import {
  type RoomMembership,
  selectJoinedRooms,
  selectLocalMemberships,
  selectMemberEvents,
  selectReceivedTs,
  selectRemoteMemberships,
} from "../storage/user_rooms.ts";
import { selectThreepidOwner } from "../storage/users.ts";

/** What the service is built from. */
export interface UserLookupsDeps {
  readonly db: Database;
  readonly isLocal: (userId: UserId) => boolean;
  /** Returns the position of the last event. */
  readonly lastPosition: () => number;
}

const PAGE = 1_000;
const SPAN = 5_000;
const MAX_FOUND = 1_000;
/** Events that arrive together may have their positions in another order than their times. */
const SLACK_MS = 3_600_000;

/** Answers questions. */
export class UserLookups {
  readonly #deps: UserLookupsDeps;

  constructor(deps: UserLookupsDeps) {
    this.#deps = deps;
  }

  /** Returns who a person at an identity provider is here. Throws 404. */
  async byExternalId(person: ExternalId): Promise<UserId> {
    const userId = await selectUserByExternalId(this.#deps.db, person);
    if (userId === null) throw notFound("User not found");
    return userId;
  }

  /** Returns whose an e-mail address or a telephone number is. Throws 404. */
  async byThreepid({ medium, address }: { medium: string; address: string }): Promise<UserId> {
    const stored = medium === "email" ? address.toLowerCase() : address;
    const userId = await selectThreepidOwner(this.#deps.db, { medium, address: stored });
    if (userId === null) throw notFound("User not found");
    return userId;
  }

  /** Returns users a part of whose id this is. */
  async search(term: string): Promise<JsonObject[]> {
    const users = await selectUsersByPart(this.#deps.db, { part: term, limit: MAX_FOUND });
    return users.map(({ userId, isGuest, isAdmin, userType }) => ({
      name: userId,
      // Synapse tells the hash. Nobody needs it, and it must not travel.
      password_hash: null,
      is_guest: isGuest,
      admin: isAdmin,
      user_type: userType,
    }));
  }

  /** Returns the rooms that a user is joined to, as far as this server knows. */
  async joinedRooms(userId: UserId): Promise<RoomId[]> {
    const rooms = await this.#pages((after) => selectJoinedRooms(this.#deps.db, { userId, after, limit: PAGE }));
    return rooms.map(({ roomId }) => roomId);
  }

  /** Returns a user's memberships by room, as far as this server knows. */
  async memberships(userId: UserId): Promise<Record<string, string>> {
    const { db, isLocal } = this.#deps;
    const found = isLocal(userId)
      ? await this.#pages((after) => selectLocalMemberships(db, { userId, after, limit: PAGE }))
      : await this.#remoteMemberships(userId);
    return Object.fromEntries(found.map(({ roomId, membership }) => [roomId, membership]));
  }

  /** Returns a user's pushers. */
  async pushers(userId: UserId): Promise<JsonObject[]> {
    const pushers = await selectPushers(this.#deps.db, userId);
    return pushers.map((pusher) => ({
      app_display_name: pusher.appDisplayName,
      app_id: pusher.appId,
      data: { ...pusher.data },
      device_display_name: pusher.deviceDisplayName,
      kind: pusher.kind,
      lang: pusher.lang,
      profile_tag: pusher.profileTag,
      pushkey: pusher.pushkey,
      enabled: pusher.isEnabled,
      device_id: pusher.deviceId,
    }));
  }

  /** Returns a user's account data, global and by room. */
  async accountData(userId: UserId): Promise<JsonObject> {
    const rows = await selectAccountDataBetween(this.#deps.db, { userId, after: 0, upTo: MAX_POSITION });
    const places = Map.groupBy(rows, ({ roomId }) => roomId);
    // Whatever users call their data, it becomes keys of plain objects.
    const objectOf = (place: string) =>
      Object.fromEntries((places.get(place) ?? []).map(({ type, content }) => [type, JSON.parse(content)]));
    const rooms = [...places.keys()].filter((place) => place !== "");
    return { global: objectOf(""), rooms: Object.fromEntries(rooms.map((roomId) => [roomId, objectOf(roomId)])) };
  }

  /** Counts the invitations that a user has sent from a time on. */
  async countInvites(userId: UserId, from: number): Promise<number> {
    let count = 0;
    for await (const { membership } of this.#memberEvents({ userId, role: "sender", from })) {
      if (membership === "invite") count++;
    }
    return count;
  }

  /** Counts the rooms that a user has joined from a time on, those included that they have left since. */
  async countJoinedRooms(userId: UserId, from: number): Promise<number> {
    const rooms = new Set<number>();
    for await (const { membership, roomNid } of this.#memberEvents({ userId, role: "member", from })) {
      if (membership === "join") rooms.add(roomNid);
    }
    return rooms.size;
  }

  async #pages(select: (after: number) => Promise<RoomMembership[]>): Promise<RoomMembership[]> {
    const found: RoomMembership[] = [];
    for (let after = 0;;) {
      const page = await select(after);
      found.push(...page);
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return found;
      after = last.roomNid;
      await nextTurn();
    }
  }

  async #remoteMemberships(userId: UserId): Promise<RoomMembership[]> {
    const found: RoomMembership[] = [];
    for (let after: number | null = 0; after !== null;) {
      const page: Awaited<ReturnType<typeof selectRemoteMemberships>> = await selectRemoteMemberships(this.#deps.db, {
        ...{ userId, after, limit: PAGE },
      });
      found.push(...page.found);
      after = page.next;
      await nextTurn();
    }
    return found;
  }

  /** Reads the member events of the stream from a time on, a part of it at a time; history fetched later is not in it. */
  async *#memberEvents(
    { userId, role, from }: { userId: UserId; role: "member" | "sender"; from: number },
  ): AsyncGenerator<{ roomNid: number; membership: unknown }> {
    const last = this.#deps.lastPosition();
    for (let after = await this.#positionBefore(from - SLACK_MS, last); after < last; after += SPAN) {
      const upTo = Math.min(after + SPAN, last);
      for (const { roomNid, json } of await selectMemberEvents(this.#deps.db, { userId, role, after, upTo, from })) {
        const { content } = JSON.parse(json) as { content?: JsonObject };
        yield { roomNid, membership: content?.["membership"] };
      }
      await nextTurn();
    }
  }

  /** Returns a position up to which everything was received before a time: positions are in the order of arrival. */
  async #positionBefore(ts: number, last: number): Promise<number> {
    let [low, high] = [0, last];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const received = await selectReceivedTs(this.#deps.db, middle);
      if (received !== null && received < ts) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
