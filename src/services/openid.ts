/** Proving to other services who a user is. Spec: client-server API, "OpenID". */
import type { Clock } from "../lib/clock.ts";
import { hashSecret } from "../lib/digest.ts";
import { randomString } from "../lib/random.ts";
import type { ServerName, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Database } from "../storage/database.ts";
import { insertOpenIdToken, selectOpenIdUser } from "../storage/openid_tokens.ts";

/** What the service is built from. */
export interface OpenIdDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly serverName: ServerName;
}

const LIFETIME_MS = 3_600_000;
const TOKEN_LENGTH = 40;

/** Issues and checks OpenID tokens. */
export class OpenId {
  readonly #deps: OpenIdDeps;

  constructor(deps: OpenIdDeps) {
    this.#deps = deps;
  }

  /** Issues a token; returns the response body. */
  async issue(userId: UserId): Promise<JsonObject> {
    const { db, clock, serverName } = this.#deps;
    const token = randomString(TOKEN_LENGTH);
    const now = clock.now();
    await db.transaction((tx) =>
      insertOpenIdToken(tx, { tokenHash: hashSecret(token), userId, expiresTs: now + LIFETIME_MS, now })
    );
    return {
      access_token: token,
      token_type: "Bearer",
      matrix_server_name: serverName,
      expires_in: LIFETIME_MS / 1000,
    };
  }

  /** Returns whose token it is, or null: for `GET /_matrix/federation/v1/openid/userinfo`. */
  async userOf(token: string): Promise<UserId | null> {
    const { db, clock } = this.#deps;
    return await selectOpenIdUser(db, { tokenHash: hashSecret(token), now: clock.now() });
  }
}
