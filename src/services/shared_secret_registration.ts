/**
 * Registration by whoever knows `registration_shared_secret`, as Synapse's admin API has it: the request is signed with
 * HMAC-SHA1 over a nonce that the server gave out and that works once.
 */
import type { Clock } from "../lib/clock.ts";
import { equalSecrets, hmacSha1Hex } from "../lib/digest.ts";
import { randomString } from "../lib/random.ts";
import { forbidden, invalidParam, MatrixError } from "../protocol/errors.ts";
import type { Database } from "../storage/database.ts";
import { deleteNonce, insertNonce } from "../storage/registration_tokens.ts";
import type { Credentials } from "./credentials.ts";
import type { Registered, Registration } from "./registration.ts";

/** What the service is built from. */
export interface SharedSecretRegistrationDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly credentials: Credentials;
  readonly registration: Registration;
  /** Null where registering this way is off. */
  readonly sharedSecret: string | null;
  /** Types of accounts beside `bot` and `support`. */
  readonly extraUserTypes: readonly string[];
}

/** A signed request. */
export interface SharedSecretRequest {
  readonly nonce: string;
  readonly username: string;
  readonly password: string;
  readonly isAdmin: boolean;
  readonly userType: string | null;
  readonly displayname: string | null;
  readonly inhibitLogin: boolean;
  readonly mac: string;
}

/** Kinds of users that need no configuration. */
export const BUILT_IN_TYPES: readonly string[] = ["bot", "support"];
const NONCE_LIFETIME_MS = 60_000;
const NONCE_LENGTH = 64;

/** Registers users by shared secret. */
export class SharedSecretRegistration {
  readonly #deps: SharedSecretRegistrationDeps;

  constructor(deps: SharedSecretRegistrationDeps) {
    this.#deps = deps;
  }

  /** Gives out a nonce, good for one attempt within a minute. */
  async makeNonce(): Promise<string> {
    this.#secret();
    const nonce = randomString(NONCE_LENGTH, "0123456789abcdef");
    const now = this.#deps.clock.now();
    await this.#deps.db.transaction((tx) => insertNonce(tx, { nonce, expiresTs: now + NONCE_LIFETIME_MS, now }));
    return nonce;
  }

  /** Registers the user, an administrator where asked. */
  async register(request: SharedSecretRequest): Promise<Registered> {
    const secret = this.#secret();
    for (const text of [request.username, request.password]) {
      if (text === "" || text.includes("\u0000")) throw invalidParam("Invalid username or password");
    }
    const { userType } = request;
    if (userType !== null && ![...BUILT_IN_TYPES, ...this.#deps.extraUserTypes].includes(userType)) {
      throw invalidParam("Invalid user type");
    }
    const now = this.#deps.clock.now();
    const isFresh = await this.#deps.db.transaction((tx) => deleteNonce(tx, { nonce: request.nonce, now }));
    if (!isFresh) throw new MatrixError(400, "M_UNKNOWN", "Unrecognized nonce");
    if (!equalSecrets(hmacSha1Hex(secret, signedText(request)), request.mac.toLowerCase())) {
      throw forbidden("HMAC incorrect");
    }
    const userId = await this.#deps.registration.createUser({
      localpart: request.username,
      passwordHash: await this.#deps.credentials.hashNew(request.password),
      isAdmin: request.isAdmin,
      userType: request.userType,
      ...(request.displayname === null ? {} : { displayname: request.displayname }),
    });
    return await this.#deps.registration.logIn(userId, {
      deviceId: null,
      initialDeviceDisplayName: null,
      wantsRefreshToken: false,
      inhibitLogin: request.inhibitLogin,
    });
  }

  #secret(): string {
    const { sharedSecret } = this.#deps;
    if (sharedSecret === null || sharedSecret === "") {
      throw new MatrixError(400, "M_UNKNOWN", "Shared secret registration is not enabled");
    }
    return sharedSecret;
  }
}

function signedText({ nonce, username, password, isAdmin, userType }: SharedSecretRequest): string {
  const parts = [nonce, username, password, isAdmin ? "admin" : "notadmin"];
  if (userType !== null) parts.push(userType);
  return parts.join("\u0000");
}
