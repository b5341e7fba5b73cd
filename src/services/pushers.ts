/** Pushers as their users see them. Spec: client-server API, "Push Notifications", `POST /pushers/set`. */
import type { Clock } from "../lib/clock.ts";
import { MatrixError } from "../protocol/errors.ts";
import type { DeviceId, UserId } from "../protocol/ids.ts";
import type { Database, Tx } from "../storage/database.ts";
import { deleteMailThrottles } from "../storage/mail_throttles.ts";
import {
  deletePusher,
  deletePushersOfDevices,
  deletePushersOfOthers,
  type Pusher,
  type PusherKey,
  selectPushers,
  upsertPusher,
} from "../storage/pushers.ts";
import { selectThreepids } from "../storage/users.ts";
import type { Notifier } from "../streams/notifier.ts";

/** What the service is built from. */
export interface PushersDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly notifier: Notifier;
  /** Told after the commit that a user's pushers are others. */
  readonly onChange: (userId: UserId) => void;
  /** Whether mails about missed messages are sent: `email.enable_notifs`. */
  readonly sendsMail: boolean;
  /** Whether new users with an address get such mails without asking: `email.notif_for_new_users`. */
  readonly mailsNewUsers: boolean;
}

/** A pusher as a client sets it. */
export type NewPusher = Omit<Pusher, "pushkeyTs">;

const MAIL = "email";
/** Spec: `app_id` of `POST /pushers/set`. */
const MAIL_APP = "m.email";
const MAX_PUSHERS_PER_USER = 200;
const GATEWAY_PATH = "/_matrix/push/v1/notify";

/** Lists, sets and removes pushers. */
export class PushersService {
  readonly #deps: PushersDeps;

  constructor(deps: PushersDeps) {
    this.#deps = deps;
  }

  /** Returns a user's pushers. */
  async list(userId: UserId): Promise<Pusher[]> {
    return await selectPushers(this.#deps.db, userId);
  }

  /**
   * Sets a pusher, which pushes what comes from now on. Unless `append`, pushers of other users with the same key go.
   * Throws 400 when it cannot work.
   */
  async set(pusher: NewPusher, { append }: { append: boolean }): Promise<void> {
    if (pusher.kind === MAIL) await this.#assertMailable(pusher);
    else assertUsable(pusher);
    const { db, clock, notifier, onChange } = this.#deps;
    const { userId } = pusher;
    await db.transaction(async (tx) => {
      const own = await selectPushers(tx, userId);
      const isNew = !own.some((other) => other.appId === pusher.appId && other.pushkey === pusher.pushkey);
      if (isNew && own.length >= MAX_PUSHERS_PER_USER) {
        throw new MatrixError(400, "M_LIMIT_EXCEEDED", "Too many pushers");
      }
      const others = append ? [] : await deletePushersOfOthers(tx, pusher);
      await upsertPusher(tx, { ...pusher, pushkeyTs: clock.now(), cursor: notifier.position("events") });
      tx.afterCommit(() => [userId, ...others].forEach(onChange));
    });
  }

  /** Removes a pusher; one that is not there is no error. */
  async delete(key: PusherKey): Promise<void> {
    await this.#deps.db.transaction(async (tx) => {
      if (await deletePusher(tx, key)) tx.afterCommit(() => this.#deps.onChange(key.userId));
    });
  }

  /** Has addresses get mails that came with a new account, and none that a user gave up. In the transaction of either. */
  async followAddress(
    tx: Tx,
    { kind, userId, address, isNewUser }: {
      kind: "added" | "removed";
      userId: UserId;
      address: string;
      isNewUser: boolean;
    },
  ): Promise<void> {
    const { clock, notifier, onChange, sendsMail, mailsNewUsers } = this.#deps;
    const key = { userId, appId: MAIL_APP, pushkey: address };
    if (kind === "removed") {
      if (!await deletePusher(tx, key)) return;
      await deleteMailThrottles(tx, key);
    } else {
      if (!isNewUser || !sendsMail || !mailsNewUsers) return;
      await upsertPusher(tx, {
        ...key,
        ...{
          kind: MAIL,
          appDisplayName: "Email Notifications",
          deviceDisplayName: address,
          lang: "en",
          profileTag: "",
        },
        ...{ data: {}, deviceId: null, isEnabled: true, pushkeyTs: clock.now(), cursor: notifier.position("events") },
      });
    }
    tx.afterCommit(() => onChange(userId));
  }

  async #assertMailable({ userId, appId, pushkey }: NewPusher): Promise<void> {
    if (!this.#deps.sendsMail) {
      throw new MatrixError(400, "M_THREEPID_NOT_FOUND", "This server sends no mails about messages");
    }
    if (appId !== MAIL_APP) {
      throw new MatrixError(400, "M_INVALID_PARAM", `The app_id of e-mail pushers is "${MAIL_APP}"`);
    }
    const own = await selectThreepids(this.#deps.db, userId);
    if (own.some(({ medium, address }) => medium === "email" && address === pushkey)) return;
    throw new MatrixError(400, "M_THREEPID_NOT_FOUND", "This is no e-mail address of your account");
  }

  /** Removes the pushers that go with devices, in the transaction that removes those. */
  async deleteOfDevices(
    tx: Tx,
    devices: { userId: UserId; deviceIds: readonly DeviceId[] },
  ): Promise<void> {
    if (await deletePushersOfDevices(tx, devices)) tx.afterCommit(() => this.#deps.onChange(devices.userId));
  }
}

function assertUsable({ kind, data }: NewPusher): void {
  if (kind !== "http") throw new MatrixError(400, "M_INVALID_PARAM", `Pushers of kind "${kind}" are not known`);
  const { url } = data;
  if (url === undefined) throw new MatrixError(400, "M_MISSING_PARAM", 'Missing parameter "data.url"');
  const parsed = typeof url === "string" ? URL.parse(url) : null;
  // Gateways beside the server are reached without TLS, so the scheme is left to the user, as in Synapse.
  const isWeb = parsed?.protocol === "https:" || parsed?.protocol === "http:";
  if (parsed === null || !isWeb || parsed.pathname !== GATEWAY_PATH) {
    throw new MatrixError(400, "M_INVALID_PARAM", `"data.url" must be a URL with the path ${GATEWAY_PATH}`);
  }
}
