/**
 * Login by JSON Web Token, Synapse's `org.matrix.login.jwt`: whoever has a token that the operator's own system signed is
 * the user it names.
 */
import type { KeyObject } from "node:crypto";
import type { Clock } from "../lib/clock.ts";
import { type JWTPayload, loadJose, verificationKey } from "../lib/jose.ts";
import { StartupError } from "../lib/startup_error.ts";
import { forbidden } from "../protocol/errors.ts";

/** Options of the configuration, by Synapse's names. */
export interface JwtOptions {
  /** A shared secret, or a public key as PEM. */
  readonly secret: string;
  readonly algorithm: string;
  readonly subjectClaim: string;
  readonly displayNameClaim: string | null;
  readonly issuer: string | null;
  readonly audiences: readonly string[] | null;
}

/** Whom a token names. */
export interface JwtUser {
  readonly localpart: string;
  /** The name of an account that is new. */
  readonly displayName: string | null;
}

/** What the service is built from. */
export interface JwtLoginDeps {
  readonly clock: Clock;
  readonly options: JwtOptions;
}

const MAX_TOKEN_LENGTH = 16_384;
/** How far the clocks of the two systems may be apart, in seconds. */
const TOLERANCE = 120;

/** Recognizes tokens. */
export class JwtLogin {
  readonly #deps: JwtLoginDeps;
  readonly #key: Uint8Array | KeyObject;

  /** Throws `StartupError` where the key does not fit the algorithm. */
  constructor(deps: JwtLoginDeps) {
    this.#deps = deps;
    const { algorithm, secret } = deps.options;
    try {
      this.#key = verificationKey(algorithm, secret);
    } catch (error) {
      throw new StartupError(`"jwt_config.secret" is no public key, as ${algorithm} needs: ${messageOf(error)}`);
    }
  }

  /** Returns whom a token names; throws 403, as Synapse does, for one that is missing or not good. */
  async verify(token: string | null): Promise<JwtUser> {
    if (token === null) throw forbidden("Token field for JWT is missing");
    const claims = await this.#claims(token);
    const { subjectClaim, displayNameClaim } = this.#deps.options;
    const subject = claims[subjectClaim];
    if (typeof subject !== "string" || subject === "") throw forbidden("Invalid JWT");
    const name = displayNameClaim === null ? null : claims[displayNameClaim];
    return { localpart: subject, displayName: typeof name === "string" ? name : null };
  }

  async #claims(token: string): Promise<JWTPayload> {
    const { jwtVerify } = await loadJose();
    const { clock, options: { algorithm, issuer, audiences } } = this.#deps;
    if (token.length > MAX_TOKEN_LENGTH) throw forbidden("JWT validation failed: it is too long");
    const { payload } = await jwtVerify(token, this.#key, {
      algorithms: [algorithm],
      clockTolerance: TOLERANCE,
      currentDate: new Date(clock.now()),
      ...(issuer === null ? {} : { issuer }),
      ...(audiences === null ? {} : { audience: [...audiences] }),
    }).catch((error: unknown) => {
      throw forbidden(`JWT validation failed: ${messageOf(error)}`);
    });
    // A token for somebody in particular is for nobody where the configuration names no audience.
    if (payload.aud !== undefined && (audiences ?? []).length === 0) {
      throw forbidden('JWT validation failed: unexpected "aud" claim');
    }
    return payload;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
