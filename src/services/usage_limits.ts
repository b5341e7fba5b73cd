/** What keeps users from using the server who are no trouble otherwise: terms they have not agreed to. */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Requester } from "../rooms/types.ts";
import type { Consent } from "./consent.ts";

/** What the service is built from. */
export interface UsageLimitsDeps {
  /** Null where there are no terms. */
  readonly consent: Consent | null;
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
    const { consent, isNoticeRoom } = this.#deps;
    if (consent === null) return;
    if (roomId !== null && await isNoticeRoom(roomId)) return;
    await consent.assertGiven(user);
  }

  /** Called when a user syncs. */
  async assertMaySync(user: LimitedUser): Promise<void> {
    await this.#deps.consent?.remind(user);
  }
}
