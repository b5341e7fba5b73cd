/**
 * The terms of the server, by Synapse's option `user_consent`: the page that shows them, who agreed to which version, and
 * what those may not do who have not.
 */
import { createHmac } from "node:crypto";
import { join } from "node:path";
import type { Clock } from "../lib/clock.ts";
import { equalSecrets } from "../lib/digest.ts";
import type { Logger } from "../lib/log.ts";
import { LruCache } from "../lib/lru.ts";
import { MatrixError, notFound } from "../protocol/errors.ts";
import { localpartOf, makeUserId, type ServerName, type UserId } from "../protocol/ids.ts";
import type { Requester } from "../rooms/types.ts";
import { claimConsentNotice, selectConsent, upsertConsent } from "../storage/consents.ts";
import type { Database, Tx } from "../storage/database.ts";
import { selectUser } from "../storage/users.ts";
import type { Templates } from "./templates.ts";

/** Options of the configuration, by Synapse's names. */
export interface ConsentOptions {
  readonly templateDir: string;
  readonly version: string;
  /** What is said when something is refused; may hold `%(consent_uri)s`. Null refuses nothing. */
  readonly blockEventsError: string | null;
  readonly serverNoticeContent: { readonly msgtype: string; readonly body: string } | null;
  readonly sendServerNoticeToGuests: boolean;
  readonly formSecret: string;
}

/** What the service is built from. */
export interface ConsentDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly serverName: ServerName;
  readonly publicBaseurl: string;
  readonly templates: Templates;
  readonly options: ConsentOptions;
  readonly sendNotice: (userId: UserId, content: { msgtype: string; body: string }) => Promise<void>;
  /** The user whom notices come from, who agrees to nothing. */
  readonly noticesUser: UserId | null;
}

/** Who looks at the terms: nobody in particular, or a user by the link made for them. */
export interface ConsentLink {
  /** The localpart; empty for nobody in particular. */
  readonly user: string;
  readonly mac: string;
}

const VERSION = /^[A-Za-z0-9._-]{1,64}$/;
const LANGUAGE = "en";
const CACHED_USERS = 10_000;

/** Asks for, notes and demands agreement. */
export class Consent {
  readonly #deps: ConsentDeps;
  /** Users who agreed to the present version. */
  readonly #agreed = new LruCache<UserId, true>({ maxEntries: CACHED_USERS });

  constructor(deps: ConsentDeps) {
    this.#deps = deps;
  }

  /** Returns the page with which a user agrees. */
  uriFor(userId: UserId): string {
    const user = localpartOf(userId);
    const query = new URLSearchParams({ u: user, h: this.#macOf(user) });
    return `${this.#deps.publicBaseurl}_matrix/consent?${query}`;
  }

  /** Returns the page of a version. Throws 403 for a link of another user's, 404 for a version that does not exist. */
  async page({ user, mac }: ConsentLink, version: string | null): Promise<string> {
    const { options, templates, db } = this.#deps;
    const userId = user === "" ? null : this.#userOf({ user, mac });
    const shown = version ?? options.version;
    const agreed = userId === null ? null : (await selectConsent(db, userId))?.version ?? null;
    return await templates.renderText(await this.#read(shown), {
      user,
      userhmac: mac,
      version: shown,
      has_consented: agreed === shown,
      public_version: userId === null,
    });
  }

  /** Notes that a user agrees; returns the page that thanks. Throws 403 for a link of another user's. */
  async agree({ user, mac }: ConsentLink, version: string): Promise<string> {
    const { db, clock, templates } = this.#deps;
    const userId = this.#userOf({ user, mac });
    // Only to what can be read.
    await this.#read(version);
    if (await selectUser(db, userId) === null) throw notFound("User not found");
    await db.transaction((tx) => this.record(tx, { userId, version, now: clock.now() }));
    const own = await this.#readFile("success");
    return own === null
      ? await templates.render("consent_success.html", {})
      : await templates.renderText(own, { user, version });
  }

  /** Notes in a transaction that a user agrees to a version. */
  async record(
    tx: Tx,
    { userId, version, now }: { userId: UserId; version: string; now: number },
  ): Promise<void> {
    await upsertConsent(tx, { userId, version, consentedTs: now });
    if (version === this.#deps.options.version) tx.afterCommit(() => this.#agreed.set(userId, true));
  }

  /** Throws `M_CONSENT_NOT_GIVEN` for users who must agree before they change anything. */
  async assertGiven({ userId, appserviceId, isGuest }: Pick<Requester, "userId" | "appserviceId" | "isGuest">): Promise<
    void
  > {
    const { blockEventsError } = this.#deps.options;
    if (blockEventsError === null || appserviceId !== null || isGuest) return;
    if (userId === this.#deps.noticesUser || await this.#hasAgreed(userId)) return;
    const uri = this.uriFor(userId);
    const message = blockEventsError.replaceAll("%(consent_uri)s", uri);
    throw new MatrixError(403, "M_CONSENT_NOT_GIVEN", message, { consent_uri: uri });
  }

  /** Sends a user, once for each version, the notice that asks for agreement. Called when a user begins to sync. */
  async remind(
    { userId, appserviceId, isGuest }: Pick<Requester, "userId" | "appserviceId" | "isGuest">,
  ): Promise<void> {
    const { db, log, options: { serverNoticeContent, sendServerNoticeToGuests, version }, sendNotice } = this.#deps;
    if (serverNoticeContent === null || appserviceId !== null || (isGuest && !sendServerNoticeToGuests)) return;
    if (userId === this.#deps.noticesUser || await this.#hasAgreed(userId)) return;
    if ((await selectConsent(db, userId))?.noticeVersion === version) return;
    if (!await db.transaction((tx) => claimConsentNotice(tx, { userId, version }))) return;
    const uri = this.uriFor(userId);
    const body = serverNoticeContent.body.replaceAll("%(consent_uri)s", uri);
    try {
      await sendNotice(userId, { msgtype: serverNoticeContent.msgtype, body });
    } catch (error) {
      log.error("The notice about the terms could not be sent", { user: userId, error: String(error) });
    }
  }

  async #hasAgreed(userId: UserId): Promise<boolean> {
    if (this.#agreed.get(userId) === true) return true;
    const { db, options } = this.#deps;
    const hasAgreed = (await selectConsent(db, userId))?.version === options.version;
    if (hasAgreed) this.#agreed.set(userId, true);
    return hasAgreed;
  }

  #macOf(user: string): string {
    return createHmac("sha256", this.#deps.options.formSecret).update(user, "utf8").digest("hex");
  }

  #userOf({ user, mac }: ConsentLink): UserId {
    const userId = makeUserId(user, this.#deps.serverName);
    if (userId !== null && equalSecrets(mac, this.#macOf(user))) return userId;
    throw new MatrixError(403, "M_FORBIDDEN", "This link is not valid");
  }

  async #read(version: string): Promise<string> {
    const text = VERSION.test(version) && !version.startsWith(".") ? await this.#readFile(version) : null;
    if (text === null) throw notFound("There is no such version of the terms");
    return text;
  }

  async #readFile(name: string): Promise<string | null> {
    try {
      return await Deno.readTextFile(join(this.#deps.options.templateDir, LANGUAGE, `${name}.html`));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    }
  }
}
