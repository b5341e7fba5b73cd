/** Accounts that expire unless they are renewed: Synapse's option `account_validity`. */
import type { Clock } from "../lib/clock.ts";
import { hashSecret } from "../lib/digest.ts";
import type { Logger } from "../lib/log.ts";
import { ReadCache } from "../lib/read_cache.ts";
import { randomString } from "../lib/random.ts";
import { MatrixError } from "../protocol/errors.ts";
import type { UserId } from "../protocol/ids.ts";
import {
  deleteValidity,
  insertMissingValidity,
  selectExpiring,
  selectValidity,
  selectValidityByToken,
  updateRenewalToken,
  upsertValidity,
} from "../storage/account_validity.ts";
import type { Database, Tx } from "../storage/database.ts";
import { selectThreepids } from "../storage/users.ts";
import type { Mailer } from "./mailer.ts";

/** What the service is built from. */
export interface AccountValidityDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  /** Null where the server sends no mail. */
  readonly mailer: Mailer | null;
  readonly publicBaseurl: string;
  readonly displayName: (userId: UserId) => Promise<string | null>;
  readonly options: {
    readonly periodMs: number;
    /** How long before the end a mail is sent; null for never. */
    readonly renewAtMs: number | null;
    readonly subject: string;
  };
}

/** What a link did: renewed the account now, or had done so before. */
export interface Renewal {
  readonly outcome: "renewed" | "renewed before";
  readonly expiresTs: number;
}

const TOKEN_LENGTH = 32;
const MAILS_AT_ONCE = 100;
const CACHED_USERS = 20_000;

/** Ends and renews accounts. */
export class AccountValidity {
  readonly #deps: AccountValidityDeps;
  readonly #expiries = new ReadCache<UserId, number>({ maxEntries: CACHED_USERS });

  constructor(deps: AccountValidityDeps) {
    this.#deps = deps;
  }

  /** Gives accounts made before there was a limit their time. Called when the server starts. */
  async start(): Promise<void> {
    const { db, clock, options } = this.#deps;
    await db.transaction((tx) => insertMissingValidity(tx, clock.now() + options.periodMs));
  }

  /** Begins the time of an account that is being made. */
  async begin(tx: Tx, userId: UserId): Promise<void> {
    const expiresTs = this.#deps.clock.now() + this.#deps.options.periodMs;
    await upsertValidity(tx, { userId, expiresTs, isMailSent: false });
  }

  /** Forgets the time of an account that is closed. */
  async end(tx: Tx, userId: UserId): Promise<void> {
    await deleteValidity(tx, userId);
    tx.afterCommit(() => this.#expiries.forget(userId));
  }

  /** Throws 403 `ORG_MATRIX_EXPIRED_ACCOUNT` for an account whose time is over. */
  async assertValid(userId: UserId): Promise<void> {
    const expiresTs = await this.#expiries.get(
      userId,
      async () => (await selectValidity(this.#deps.db, userId))?.expiresTs ?? Infinity,
    );
    if (this.#deps.clock.now() < expiresTs) return;
    throw new MatrixError(403, "ORG_MATRIX_EXPIRED_ACCOUNT", "The account has expired and must be renewed");
  }

  /** Sets or renews an account's time; returns when it ends. For administrators and links. */
  async renew(
    userId: UserId,
    { expiresTs, sendsMail = true, tokenUsedTs = null }: {
      expiresTs?: number;
      sendsMail?: boolean;
      tokenUsedTs?: number | null;
    } = {},
  ): Promise<number> {
    const { db, clock, options } = this.#deps;
    const ends = expiresTs ?? clock.now() + options.periodMs;
    await db.transaction(async (tx) => {
      await upsertValidity(tx, { userId, expiresTs: ends, isMailSent: !sendsMail, tokenUsedTs });
      tx.afterCommit(() => this.#expiries.forget(userId));
    });
    return ends;
  }

  /** Renews the account that a link is for; null for a link that is not known. */
  async renewByToken(token: string): Promise<Renewal | null> {
    const { db, clock } = this.#deps;
    const found = await selectValidityByToken(db, hashSecret(token.slice(0, 255)));
    if (found === null) return null;
    if (found.tokenUsedTs !== null) return { outcome: "renewed before", expiresTs: found.expiresTs };
    return { outcome: "renewed", expiresTs: await this.renew(found.userId, { tokenUsedTs: clock.now() }) };
  }

  /** Sends a user the mail with the link. Throws 400 when there is no address to send it to. */
  async sendMail(userId: UserId): Promise<void> {
    const { db, mailer } = this.#deps;
    const validity = await selectValidity(db, userId);
    if (validity === null || mailer === null || !await this.#mail(mailer, validity)) {
      throw new MatrixError(400, "M_UNKNOWN", "There is no e-mail address that a mail about this account could go to");
    }
  }

  /** Tells users whose accounts end soon. Called by a timer. */
  async remind(): Promise<void> {
    const { db, clock, mailer, log, options } = this.#deps;
    if (mailer === null || options.renewAtMs === null) return;
    const before = clock.now() + options.renewAtMs;
    for (const validity of await selectExpiring(db, { before, limit: MAILS_AT_ONCE })) {
      try {
        if (await this.#mail(mailer, validity)) continue;
        const { userId, expiresTs } = validity;
        await db.transaction((tx) => upsertValidity(tx, { userId, expiresTs, isMailSent: true }));
      } catch (error) {
        log.warn("A user could not be told that their account expires", {
          user: validity.userId,
          error: String(error),
        });
      }
    }
  }

  async #mail(mailer: Mailer, { userId, expiresTs }: { userId: UserId; expiresTs: number }): Promise<boolean> {
    const { db, publicBaseurl, displayName, options } = this.#deps;
    const addresses = (await selectThreepids(db, userId)).filter(({ medium }) => medium === "email");
    if (addresses.length === 0) return false;
    const token = randomString(TOKEN_LENGTH);
    const url = `${publicBaseurl}_matrix/client/unstable/account_validity/renew?${new URLSearchParams({ token })}`;
    const vars = { display_name: await displayName(userId) ?? userId, expiration_ts: expiresTs, url };
    // The link must work once the first mail has arrived.
    await db.transaction((tx) => updateRenewalToken(tx, { userId, tokenHash: hashSecret(token) }));
    try {
      for (const { address } of addresses) {
        await mailer.send({ to: address, subject: mailer.fill(options.subject), template: "notice_expiry", vars });
      }
    } catch (error) {
      await db.transaction((tx) => upsertValidity(tx, { userId, expiresTs, isMailSent: false }));
      throw error;
    }
    return true;
  }
}
