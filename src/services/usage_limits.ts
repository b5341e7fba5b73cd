/** What keeps users from using the server who are no trouble otherwise: terms, the number of users, expiry. */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Requester } from "../rooms/types.ts";
import type { AccountValidity } from "./account_validity.ts";
import type { ActiveUsers } from "./active_users.ts";
import type { Consent } from "./consent.ts";
import type { LimitNotices } from "./limit_notices.ts";

/** What the service is built from. */
export interface UsageLimitsDeps {
  /** Null where there are no terms. */
  readonly consent: Consent | null;
  readonly activeUsers: ActiveUsers;
  /** Null where nobody is told of the limit. */
  readonly limitNotices: LimitNotices | null;
  /** Null where accounts do not expire. */
  readonly validity: AccountValidity | null;
  /** Tells whether a room is one of notices from the server, where everybody may go. */
  readonly isNoticeRoom: (roomId: RoomId) => Promise<boolean>;
}

/** Who the limits are about. */
export type LimitedUser = Pick<Requester, "userId" | "appserviceId" | "isGuest"> & { readonly userId: UserId };

/** Decides. */
export class UsageLimits {
  readonly #deps: UsageLimitsDeps;

  constructor(deps: UsageLimitsDeps) {
    this.#deps = deps;
  }

  /** Throws 403 when a user may send nothing, to the room or at all. */
  async assertMaySend(user: LimitedUser, roomId: RoomId | null): Promise<void> {
    const { consent, activeUsers, isNoticeRoom } = this.#deps;
    await activeUsers.assertMayUse(user);
    if (consent === null) return;
    if (roomId !== null && await isNoticeRoom(roomId)) return;
    await consent.assertGiven(user);
  }

  /** Throws 403 for an account that has expired; nothing to wait for where none expires. */
  assertValid({ userId, appserviceId, isGuest }: LimitedUser): Promise<void> | undefined {
    const { validity } = this.#deps;
    return validity === null || appserviceId !== null || isGuest ? undefined : validity.assertValid(userId);
  }

  /** Called when a user syncs. Throws 403 when there are too many users. */
  async assertMaySync(user: LimitedUser): Promise<void> {
    await this.#deps.activeUsers.assertMayUse(user);
    await this.#deps.consent?.remind(user);
    await this.#deps.limitNotices?.check(user.userId);
  }
}
