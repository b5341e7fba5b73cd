/** Tokens that a provider signed. Spec: OpenID Connect Core 1.0, 3.1.3.7; OpenID Connect Back-Channel Logout 1.0, 2.6. */
import { createHash } from "node:crypto";
import type { Clock } from "../../lib/clock.ts";
import { equalSecrets } from "../../lib/digest.ts";
import { type JWTPayload, loadJose } from "../../lib/jose.ts";
import { isJsonObject, type JsonValue } from "../../protocol/json.ts";
import type { OidcDiscovery } from "./oidc_metadata.ts";

/** What tokens are checked with. */
export interface OidcTokensDeps {
  readonly discovery: OidcDiscovery;
  readonly clock: Clock;
  readonly clientId: string;
}

/** How far the clocks of the two systems may be apart, in seconds. */
const TOLERANCE = 120;
const MAX_TOKEN_LENGTH = 65_536;
const LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout";

/** Checks tokens; what they say is only returned where they are good. */
export class OidcTokens {
  readonly #deps: OidcTokensDeps;

  constructor(deps: OidcTokensDeps) {
    this.#deps = deps;
  }

  /** Returns what a token about somebody's identity says. */
  async identity(
    token: string,
    { nonce, accessToken }: { nonce: string; accessToken: string | null },
  ): Promise<JWTPayload> {
    const { payload, algorithm } = await this.#verify(token);
    const { clientId } = this.#deps;
    if (payload.exp === undefined || payload.iat === undefined || typeof payload.sub !== "string") {
      throw new Error('the token lacks "exp", "iat" or "sub"');
    }
    if (typeof payload.nonce !== "string" || !equalSecrets(payload.nonce, nonce)) throw new Error("wrong nonce");
    const isForMany = Array.isArray(payload.aud) && payload.aud.length > 1;
    if ((isForMany || payload.azp !== undefined) && payload.azp !== clientId) throw new Error('wrong "azp"');
    if (accessToken !== null && payload.at_hash !== undefined && payload.at_hash !== halfHash(accessToken, algorithm)) {
      throw new Error('"at_hash" is not of the access token');
    }
    return payload;
  }

  /** Returns the session that a token ends, and whose it is where it says so. */
  async logout(token: string): Promise<{ sid: string; sub: string | null }> {
    const { payload } = await this.#verify(token);
    const events = payload.events as JsonValue | undefined;
    if (!isJsonObject(events) || !isJsonObject(events[LOGOUT_EVENT])) throw new Error("it is no logout token");
    if (payload.nonce !== undefined) throw new Error("a logout token has no nonce");
    if (typeof payload.sid !== "string" || payload.sid === "") throw new Error('it lacks "sid"');
    return { sid: payload.sid, sub: typeof payload.sub === "string" ? payload.sub : null };
  }

  /** Returns what a signed answer about a person says. */
  async userinfo(token: string): Promise<JWTPayload> {
    return (await this.#verify(token)).payload;
  }

  async #verify(token: string): Promise<{ payload: JWTPayload; algorithm: string }> {
    if (token.length > MAX_TOKEN_LENGTH) throw new Error("the token is too long");
    const { errors } = await loadJose();
    try {
      return await this.#verifyWith(token, { isFresh: false });
    } catch (error) {
      const mayBeNewKey = error instanceof errors.JWKSNoMatchingKey ||
        error instanceof errors.JWSSignatureVerificationFailed;
      if (!mayBeNewKey) throw error;
      return await this.#verifyWith(token, { isFresh: true });
    }
  }

  async #verifyWith(
    token: string,
    { isFresh }: { isFresh: boolean },
  ): Promise<{ payload: JWTPayload; algorithm: string }> {
    const { createLocalJWKSet, jwtVerify } = await loadJose();
    const { discovery, clock, clientId } = this.#deps;
    const { issuer, algorithms } = await discovery.metadata();
    const keys = createLocalJWKSet(await discovery.keys({ isFresh }));
    const { payload, protectedHeader } = await jwtVerify(token, keys, {
      issuer,
      audience: clientId,
      // Only what a public key checks: a secret of the client's is no key of the provider's.
      algorithms: algorithms.filter((name) => /^(?:RS|PS|ES|Ed)/.test(name)),
      clockTolerance: TOLERANCE,
      currentDate: new Date(clock.now()),
    });
    return { payload, algorithm: protectedHeader.alg };
  }
}

/** Spec: OpenID Connect Core 1.0, 3.1.3.6. */
function halfHash(text: string, algorithm: string): string {
  const bits = /(256|384|512)$/.exec(algorithm)?.[1] ?? "512";
  const digest = createHash(`sha${bits}`).update(text, "ascii").digest();
  return digest.subarray(0, digest.length / 2).toString("base64url");
}
