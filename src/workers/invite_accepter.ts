/**
 * `auto_accept_invites`: joins users to the rooms they are invited to.
 *
 * It happens after the invitation is written, in the background. A server that invites one of our users sends the
 * invitation before it has it in its own room, so the first attempt to join may be refused: there are five, as in Synapse,
 * the last fifteen seconds after the first. Whoever is invited no longer by then is left alone.
 */
import type { Clock } from "../lib/clock.ts";
import { describeError } from "../lib/describe_error.ts";
import type { Logger } from "../lib/log.ts";
import { Semaphore } from "../lib/semaphore.ts";
import { MatrixError } from "../protocol/errors.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { DecideInvite } from "../rooms/invite_rules.ts";
import { membershipIn } from "../rooms/member_content.ts";
import type { PersistHandler } from "../rooms/pending.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { AccountDataService } from "../services/account_data.ts";
import type { Database } from "../storage/database.ts";
import { selectLocalMembership } from "../storage/local_memberships.ts";
import { selectUser } from "../storage/users.ts";

/** What the worker is built from. */
export interface InviteAccepterDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly options: { readonly onlyForDirectMessages: boolean; readonly onlyFromLocalUsers: boolean };
  readonly isLocal: (userId: UserId) => boolean;
  readonly decideInvite: DecideInvite;
  readonly accountData: Pick<AccountDataService, "update">;
  readonly join: (userId: UserId, roomId: RoomId) => Promise<unknown>;
}

interface Invite {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly sender: UserId;
  readonly isDirect: boolean;
}

/** How long to wait before each attempt. */
const DELAYS_MS = [0, 1_000, 2_000, 4_000, 8_000];
const JOINS_AT_ONCE = 5;
/** More invitations than this at a time are not accepted by themselves. */
const MAX_WAITING = 10_000;

/** Accepts invitations. */
export class InviteAccepter implements AsyncDisposable {
  readonly #deps: InviteAccepterDeps;
  readonly #stopping = new AbortController();
  readonly #joins = new Semaphore(JOINS_AT_ONCE);
  readonly #running = new Set<Promise<void>>();

  constructor(deps: InviteAccepterDeps) {
    this.#deps = deps;
  }

  /** Sees the invitations to rooms that this server is in. */
  readonly onPersist: PersistHandler = (tx, { events }) => {
    const changes = events.flatMap(({ deltas }) => deltas.localMembers);
    const invites = changes.flatMap(({ after }) => after !== null && membershipIn(after) === "invite" ? [after] : []);
    if (invites.length > 0) tx.afterCommit(() => invites.forEach(this.note));
    return Promise.resolve();
  };

  /** Notes a member event of a user, which may be an invitation to a room that this server is not in. */
  readonly note = ({ event }: StoredEvent): void => {
    const { options, isLocal, log } = this.#deps;
    const userId = event.stateKey as UserId;
    const isDirect = event.content["is_direct"] === true;
    if (event.content["membership"] !== "invite" || !isLocal(userId)) return;
    if (options.onlyForDirectMessages && !isDirect) return;
    if (options.onlyFromLocalUsers && !isLocal(event.sender)) return;
    if (this.#running.size >= MAX_WAITING) {
      log.warn("There are too many invitations to accept them all", { user: userId, room: event.roomId });
      return;
    }
    const accepted = this.#accept({ roomId: event.roomId, userId, sender: event.sender, isDirect })
      .catch((error) => log.error("An invitation could not be accepted", { user: userId, room: event.roomId, error }))
      .finally(() => void this.#running.delete(accepted));
    this.#running.add(accepted);
  };

  /** Stops after the joins under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#running);
  }

  async #accept(invite: Invite): Promise<void> {
    const { clock, log, accountData } = this.#deps;
    const { userId, roomId, sender, isDirect } = invite;
    const { signal } = this.#stopping;
    if (!await this.#isWanted(invite)) return;
    if (isDirect) {
      await accountData.update({ userId, roomId: null, type: "m.direct" }, (direct) => addRoom(direct, invite));
    }
    for (const delay of DELAYS_MS) {
      await clock.sleep(delay, signal);
      if (signal.aborted || !await this.#isInvited(invite)) return;
      try {
        await this.#joins.run(() => this.#deps.join(userId, roomId));
        return;
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        log.info("An invitation could not be accepted yet", {
          user: userId,
          room: roomId,
          error: describeError(error),
        });
      }
    }
    log.warn("An invitation could not be accepted", { user: userId, room: roomId, sender });
  }

  async #isWanted({ userId, sender }: Invite): Promise<boolean> {
    const { db, decideInvite } = this.#deps;
    const user = await selectUser(db, userId);
    if (user === null || user.isDeactivated || user.isSuspended || user.isLocked) return false;
    return await decideInvite({ sender, target: userId }) === "allow";
  }

  async #isInvited({ userId, roomId }: Invite): Promise<boolean> {
    return (await selectLocalMembership(this.#deps.db, { userId, roomId }))?.membership === "invite";
  }
}

/** Adds a room to the content of `m.direct`; null when it is there. */
function addRoom(
  direct: JsonObject,
  { sender, roomId }: Pick<Invite, "sender" | "roomId">,
): JsonObject | null {
  const rooms = direct[sender];
  const known = Array.isArray(rooms) ? rooms : [];
  return known.includes(roomId) ? null : { ...direct, [sender]: [...known, roomId] };
}
