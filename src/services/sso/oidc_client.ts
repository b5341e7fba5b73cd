/** Requests to a provider in its clients' name. Spec: RFC 6749, 4.1.3; OpenID Connect Core 1.0, 5.3. */
import { createPrivateKey } from "node:crypto";
import type { SendBounded } from "../../lib/bounded_request.ts";
import type { Clock } from "../../lib/clock.ts";
import { loadJose } from "../../lib/jose.ts";
import { isJsonObject, type JsonObject } from "../../protocol/json.ts";
import { SsoError } from "./identity_provider.ts";
import type { OidcMetadata } from "./oidc_metadata.ts";
import type { OidcOptions, SecretKey } from "./oidc_options.ts";
import type { OidcTokens } from "./oidc_tokens.ts";

/** What requests are made with. */
export interface OidcClientDeps {
  readonly send: SendBounded;
  readonly clock: Clock;
  readonly options: OidcOptions;
  readonly tokens: OidcTokens;
}

/** What a code was exchanged for. */
export interface CodeTokens {
  readonly accessToken: string | null;
  readonly idToken: string | null;
}

const SECRET_LIFETIME_S = 3_600;
const FORM = "application/x-www-form-urlencoded";

/** Asks a provider. */
export class OidcClient {
  readonly #deps: OidcClientDeps;

  constructor(deps: OidcClientDeps) {
    this.#deps = deps;
  }

  /** Exchanges the code that somebody brought. Throws `SsoError` with what the provider says. */
  async exchange(
    { tokenEndpoint }: OidcMetadata,
    { code, codeVerifier }: { code: string; codeVerifier: string | null },
  ): Promise<CodeTokens> {
    const form = new URLSearchParams({
      grant_type: "authorization_code",
      code,
      redirect_uri: this.#deps.options.callbackUrl,
    });
    if (codeVerifier !== null) form.set("code_verifier", codeVerifier);
    const headers = { "content-type": FORM, ...await this.#authenticate(form) };
    const { status, text } = await this.#deps.send(tokenEndpoint, { method: "POST", headers, body: form.toString() });
    const answer = parseObject(text);
    if (typeof answer?.error === "string") throw new SsoError(answer.error, descriptionOf(answer));
    if (status >= 400 || answer === null) {
      throw new SsoError("server_error", `The login provider answered ${status} when it was asked for a token.`);
    }
    const textOf = (value: unknown) => typeof value === "string" ? value : null;
    return { accessToken: textOf(answer.access_token), idToken: textOf(answer.id_token) };
  }

  /** Returns what the provider says of whoever an access token stands for. */
  async userinfo({ userinfoEndpoint }: OidcMetadata, accessToken: string): Promise<Readonly<Record<string, unknown>>> {
    const headers = { authorization: `Bearer ${accessToken}` };
    const { status, contentType, text } = await this.#deps.send(userinfoEndpoint ?? "", { headers });
    if (status !== 200) throw new Error(`the provider answers ${status}`);
    if (contentType.startsWith("application/jwt")) return await this.#deps.tokens.userinfo(text.trim());
    const answer = parseObject(text);
    if (answer === null) throw new Error("the provider answers no JSON object");
    return answer;
  }

  /** Adds to the form, or returns as headers, what proves which client asks. Spec: RFC 6749, 2.3.1. */
  async #authenticate(form: URLSearchParams): Promise<Record<string, string>> {
    const { clientId, clientAuthMethod } = this.#deps.options;
    if (clientAuthMethod === "none") {
      form.set("client_id", clientId);
      return {};
    }
    const secret = await this.#secret();
    if (clientAuthMethod === "client_secret_post") {
      form.set("client_id", clientId);
      form.set("client_secret", secret);
      return {};
    }
    const pair = `${encodeURIComponent(clientId)}:${encodeURIComponent(secret)}`;
    return { authorization: `Basic ${Buffer.from(pair).toString("base64")}` };
  }

  async #secret(): Promise<string> {
    const { options: { clientSecret, clientId, issuer } } = this.#deps;
    if (clientSecret === null || typeof clientSecret === "string") return clientSecret ?? "";
    return await this.#signedSecret(clientSecret, { clientId, issuer });
  }

  async #signedSecret(
    { key, jwtHeader, jwtPayload }: SecretKey,
    { clientId, issuer }: { clientId: string; issuer: string },
  ): Promise<string> {
    const { SignJWT } = await loadJose();
    const now = Math.floor(this.#deps.clock.now() / 1000);
    const claims = { sub: clientId, aud: issuer, iat: now, exp: now + SECRET_LIFETIME_S, ...jwtPayload };
    const header = { ...jwtHeader, alg: String(jwtHeader.alg) };
    return await new SignJWT(claims).setProtectedHeader(header).sign(createPrivateKey(key));
  }
}

function descriptionOf({ error, error_description: description }: JsonObject): string {
  return typeof description === "string" ? description : String(error);
}

function parseObject(text: string): JsonObject | null {
  try {
    const value = JSON.parse(text);
    return isJsonObject(value) ? value : null;
  } catch {
    return null;
  }
}
