/**
 * A provider that speaks OpenID Connect, or OAuth 2.0 with an endpoint for the user's data. Spec: OpenID Connect Core
 * 1.0, "Authentication using the Authorization Code Flow"; RFC 7636 (PKCE).
 */
import { createHash } from "node:crypto";
import type { SendBounded } from "../../lib/bounded_request.ts";
import type { Clock } from "../../lib/clock.ts";
import { equalSecrets } from "../../lib/digest.ts";
import type { Logger } from "../../lib/log.ts";
import { randomString } from "../../lib/random.ts";
import type { JsonObject } from "../../protocol/json.ts";
import { assertAttributes } from "./attribute_requirements.ts";
import { type AttributeTemplates, localpartFrom } from "./attribute_templates.ts";
import {
  type Arrival,
  type Departure,
  type IdentityProvider,
  type ProviderInfo,
  providerUnavailable,
  type SsoAttributes,
  SsoError,
  type SsoPurpose,
} from "./identity_provider.ts";
import { OidcClient } from "./oidc_client.ts";
import { OidcDiscovery, type OidcMetadata } from "./oidc_metadata.ts";
import { type OidcOptions, usesUserinfo } from "./oidc_options.ts";
import { OidcTokens } from "./oidc_tokens.ts";
import type { SealedStates } from "./sealed_state.ts";

/** What a browser keeps while its user is at the provider. */
export interface OidcState {
  readonly idp: string;
  readonly state: string;
  readonly nonce: string;
  readonly codeVerifier: string | null;
  readonly purpose: SsoPurpose;
}

/** What a provider is built from. */
export interface OidcProviderDeps {
  readonly options: OidcOptions;
  readonly templates: AttributeTemplates;
  /** Names of the further templates, whose results clients are told. */
  readonly extraAttributes: readonly string[];
  readonly confirmLocalpart: boolean;
  readonly hasLocalpart: boolean;
  readonly send: SendBounded;
  readonly clock: Clock;
  readonly log: Logger;
  readonly states: SealedStates;
  /** Makes the cookies of a sealed state. */
  readonly cookies: (sealed: string) => readonly string[];
}

type Claims = Readonly<Record<string, unknown>>;

/** The kind of state. */
export const OIDC_STATE = "oidc";
/** The name of what a further attribute's template is kept under. */
export const EXTRA_PREFIX = "extra_attributes.";
const MAX_EXTERNAL_ID_LENGTH = 1_024;

/** One provider. */
export class OidcProvider implements IdentityProvider {
  readonly #deps: OidcProviderDeps;
  readonly #discovery: OidcDiscovery;
  readonly #tokens: OidcTokens;
  readonly #client: OidcClient;

  constructor(deps: OidcProviderDeps) {
    this.#deps = deps;
    const { options, clock } = deps;
    this.#discovery = new OidcDiscovery(deps);
    this.#tokens = new OidcTokens({ discovery: this.#discovery, clock, clientId: options.clientId });
    this.#client = new OidcClient({ ...deps, tokens: this.#tokens });
  }

  get info(): ProviderInfo {
    return this.#deps.options.info;
  }

  get options(): OidcOptions {
    return this.#deps.options;
  }

  async depart(purpose: SsoPurpose, query: URLSearchParams): Promise<Departure> {
    const { options, states, cookies } = this.#deps;
    const { authorizationEndpoint, usesPkce } = await this.#metadata();
    const [state, nonce] = [randomString(32), randomString(32)];
    const codeVerifier = usesPkce ? randomString(64) : null;
    const url = new URL(authorizationEndpoint);
    for (const [name, value] of Object.entries(options.additionalAuthorizationParameters)) {
      url.searchParams.set(name, value);
    }
    for (const name of options.passthroughAuthorizationParameters) {
      const value = query.get(name);
      if (value !== null && value !== "") url.searchParams.set(name, value);
    }
    const parameters = {
      response_type: "code",
      client_id: options.clientId,
      redirect_uri: options.callbackUrl,
      scope: options.scopes.join(" "),
      ...{ state, nonce },
      ...(codeVerifier === null ? {} : { code_challenge_method: "S256", code_challenge: challengeOf(codeVerifier) }),
    };
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    const kept: OidcState = { idp: this.info.id, state, nonce, codeVerifier, purpose };
    return { location: url.href, cookies: cookies(states.seal(OIDC_STATE, { ...kept, purpose: { ...purpose } })) };
  }

  /** Takes somebody back who brings a code. Throws `SsoError`. */
  async arrive({ purpose, nonce, codeVerifier }: OidcState, code: string): Promise<Arrival> {
    const metadata = await this.#metadata();
    const { options } = this.#deps;
    const tokens = await this.#client.exchange(metadata, { code, codeVerifier });
    const identity = tokens.idToken === null ? null : await this.#identity(tokens.idToken, {
      nonce,
      accessToken: usesUserinfo(options) ? tokens.accessToken : null,
    });
    const user = usesUserinfo(options) ? await this.#userinfo(metadata, tokens.accessToken) : identity;
    if (user === null) throw new SsoError("invalid_token", "The login provider sent no token about your identity.");
    // Spec: OpenID Connect Core, 5.3.2: else the two may be about different people.
    if (identity !== null && user.sub !== undefined && user.sub !== identity.sub) {
      throw new SsoError("invalid_token", "The login provider's answers are about different people.");
    }
    if (purpose.kind === "login") assertAttributes(user, options.attributeRequirements);
    const externalId = this.#externalIdOf(user);
    const sid = identity?.sid;
    return {
      ...{ provider: this.info, purpose, externalId, mayRegister: options.enableRegistration },
      authSession: typeof sid === "string" && sid !== "" ? sid : null,
      extra: this.#extraOf(user),
      attributes: (failures) => Promise.resolve(this.#attributesOf(user, failures)),
      ownsAccount: options.allowExistingUsers ? () => Promise.resolve(this.#attributesOf(user, 0).localpart) : null,
    };
  }

  /** Returns the session that a logout token ends, and whose it is where that is known. Throws for a bad token. */
  async logout(token: string): Promise<{ sid: string; externalId: string | null }> {
    const { sid, sub } = await this.#tokens.logout(token);
    return { sid, externalId: this.#deps.options.backchannelLogoutIgnoreSub ? null : sub };
  }

  /** Tells whether the state that a browser kept is the one that a request names. */
  static isOf({ state }: OidcState, given: string): boolean {
    return equalSecrets(state, given);
  }

  async #metadata(): Promise<OidcMetadata> {
    try {
      return await this.#discovery.metadata();
    } catch (error) {
      throw providerUnavailable(error);
    }
  }

  async #identity(token: string, expected: { nonce: string; accessToken: string | null }): Promise<Claims> {
    try {
      return await this.#tokens.identity(token, expected);
    } catch (error) {
      throw new SsoError("invalid_token", `The login provider's token is not valid: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  async #userinfo(metadata: OidcMetadata, accessToken: string | null): Promise<Claims> {
    try {
      return await this.#client.userinfo(metadata, accessToken ?? "");
    } catch (error) {
      const description = `The login provider does not say who you are: ${messageOf(error)}`;
      throw new SsoError("fetch_error", description, { cause: error });
    }
  }

  #externalIdOf(user: Claims): string {
    const externalId = this.#render("subject_template", user);
    if (externalId !== "" && externalId.length <= MAX_EXTERNAL_ID_LENGTH) return externalId;
    throw new SsoError("mapping_error", "The login provider does not say who you are.");
  }

  #attributesOf(user: Claims, failures: number): SsoAttributes {
    const { hasLocalpart, confirmLocalpart } = this.#deps;
    const name = hasLocalpart ? localpartFrom(this.#render("localpart_template", user)) : "";
    const orNull = (template: string) => this.#render(template, user) || null;
    const email = orNull("email_template");
    return {
      localpart: name === "" ? null : `${name}${failures === 0 ? "" : failures}`,
      confirmLocalpart,
      displayName: orNull("display_name_template"),
      picture: orNull("picture_template"),
      emails: email === null ? [] : [email],
    };
  }

  #extraOf(user: Claims): JsonObject {
    return Object.fromEntries(
      this.#deps.extraAttributes.map((name) => [name, this.#render(`${EXTRA_PREFIX}${name}`, user)]),
    );
  }

  #render(template: string, user: Claims): string {
    try {
      return this.#deps.templates.render(template, user);
    } catch (error) {
      const description = "Could not extract user attributes from SSO response.";
      throw new SsoError("mapping_error", description, { cause: error });
    }
  }
}

function challengeOf(verifier: string): string {
  return createHash("sha256").update(verifier, "ascii").digest("base64url");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
