/** What administrators do to accounts over the client API. Spec: client-server API, "Server Administration". */
import { forbidden, invalidParam, notFound } from "../protocol/errors.ts";
import type { UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Requester } from "../rooms/types.ts";
import type { Database } from "../storage/database.ts";
import { selectSightings } from "../storage/devices.ts";
import { selectUser, updateIsLocked, updateIsSuspended, type User } from "../storage/users.ts";
import type { LastSeen } from "./last_seen.ts";
import type { Tokens } from "./tokens.ts";

/** What the service is built from. */
export interface AccountAdminDeps {
  readonly db: Database;
  readonly tokens: Tokens;
  readonly lastSeen: LastSeen;
  readonly isLocal: (userId: UserId) => boolean;
}

/** What can be done to an account without ending it. */
export type Restriction = "locked" | "suspended";

/** Restricts accounts and tells where they are used from. */
export class AccountAdmin {
  readonly #deps: AccountAdminDeps;

  constructor(deps: AccountAdminDeps) {
    this.#deps = deps;
  }

  /** Tells whether an account is locked or suspended. */
  async get(userId: UserId, restriction: Restriction): Promise<boolean> {
    const user = await this.#require(userId);
    return restriction === "locked" ? user.isLocked : user.isSuspended;
  }

  /** Locks or suspends an account, or lifts that. Throws 403 for one's own and for administrators. */
  async set(
    requester: Requester,
    { userId, restriction, value }: { userId: UserId; restriction: Restriction; value: boolean },
  ): Promise<void> {
    const { db, tokens } = this.#deps;
    const user = await this.#require(userId);
    if (userId === requester.userId) throw forbidden("You cannot do this to your own account");
    if (user.isAdmin) throw forbidden("The user is an administrator");
    await db.transaction((tx) =>
      restriction === "locked"
        ? updateIsLocked(tx, { userId, isLocked: value })
        : updateIsSuspended(tx, { userId, isSuspended: value })
    );
    tokens.forgetUser(userId);
  }

  /** Returns where a user was seen: to administrators, and to the user. */
  async whois(requester: Requester, userId: UserId): Promise<JsonObject> {
    if (userId !== requester.userId && !requester.isAdmin) throw forbidden("You are not a server admin");
    if (!this.#deps.isLocal(userId)) throw invalidParam("Can only whois a local user");
    await this.#deps.lastSeen.flush();
    const devices: Record<string, { sessions: { connections: JsonObject[] }[] }> = {};
    for (const { deviceId, ip, userAgent, seenTs } of await selectSightings(this.#deps.db, userId)) {
      const device = devices[deviceId] ??= { sessions: [{ connections: [] }] };
      device.sessions[0]?.connections.push({ ip, last_seen: seenTs, user_agent: userAgent });
    }
    return { user_id: userId, devices };
  }

  async #require(userId: UserId): Promise<User> {
    if (!this.#deps.isLocal(userId)) throw invalidParam("The user is not of this server");
    const user = await selectUser(this.#deps.db, userId);
    if (user === null || user.isDeactivated) throw notFound("User not found");
    return user;
  }
}
