/** New users who came from a provider and have yet to choose a name, or to agree to the terms. */
import type { Clock } from "../../lib/clock.ts";
import { hashSecret } from "../../lib/digest.ts";
import { randomString } from "../../lib/random.ts";
import type { JsonObject } from "../../protocol/json.ts";
import type { Database } from "../../storage/database.ts";
import {
  deleteExpiredSsoSessions,
  deleteSsoSession,
  selectSsoSession,
  upsertSsoSession,
} from "../../storage/sso_sessions.ts";
import { SsoError } from "./identity_provider.ts";

/** What is known of a new user, and what they chose so far. */
export interface NewUser {
  readonly externalId: string;
  readonly redirectUrl: string;
  readonly extra: JsonObject;
  /** What the provider says. */
  readonly displayName: string | null;
  readonly picture: string | null;
  readonly emails: readonly string[];
  /** Whether the name is theirs to choose. */
  readonly mayChoose: boolean;
  /** The name that the provider suggests, or that they chose. */
  readonly localpart: string | null;
  readonly hasChosen: boolean;
  readonly useDisplayName: boolean;
  readonly usePicture: boolean;
  readonly emailsToUse: readonly string[];
  readonly termsVersion: string | null;
}

/** A new user, and where they came from. */
export interface NewUserSession {
  /** What the browser keeps. */
  readonly token: string;
  readonly authProvider: string;
  readonly authSession: string | null;
  readonly user: NewUser;
}

const LIFETIME_MS = 15 * 60_000;
const TOKEN_LENGTH = 32;

/** Keeps new users until they have an account. */
export class NewUsers {
  readonly #db: Database;
  readonly #clock: Clock;

  constructor({ db, clock }: { db: Database; clock: Clock }) {
    this.#db = db;
    this.#clock = clock;
  }

  /** Begins a session and returns its token. */
  async begin(session: Omit<NewUserSession, "token">): Promise<string> {
    const token = randomString(TOKEN_LENGTH);
    await this.#db.transaction((tx) => deleteExpiredSsoSessions(tx, this.#clock.now()));
    await this.#write({ ...session, token });
    return token;
  }

  /** Returns a session. Throws for one that does not exist or ran out. */
  async get(token: string): Promise<NewUserSession> {
    const sessionHash = hashSecret(token.slice(0, TOKEN_LENGTH));
    const row = await selectSsoSession(this.#db, { sessionHash, now: this.#clock.now() });
    if (row === null) throw unknownSession();
    return { token, authProvider: row.authProvider, authSession: row.authSession, user: JSON.parse(row.data) };
  }

  /** Notes what a new user chose. */
  async change(session: NewUserSession, chosen: Partial<NewUser>): Promise<NewUserSession> {
    const next = { ...session, user: { ...session.user, ...chosen } };
    await this.#write(next);
    return next;
  }

  /** Ends a session; whoever ends it makes the account. Throws where it has ended. */
  async end({ token }: NewUserSession): Promise<void> {
    if (!await this.#db.transaction((tx) => deleteSsoSession(tx, hashSecret(token)))) throw unknownSession();
  }

  async #write({ token, authProvider, authSession, user }: NewUserSession): Promise<void> {
    await this.#db.transaction((tx) =>
      upsertSsoSession(tx, {
        ...{ authProvider, authSession, sessionHash: hashSecret(token), data: JSON.stringify(user) },
        expiresTs: this.#clock.now() + LIFETIME_MS,
      })
    );
  }
}

function unknownSession(): SsoError {
  return new SsoError("bad_session", "This login is not known any more. Please begin again in your app.");
}
