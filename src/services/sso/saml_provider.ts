/**
 * A provider that speaks SAML 2.0, by a redirect there and a form back (Web Browser SSO). Names are Synapse's.
 *
 * What somebody left with is in a sealed cookie, so an answer is worth something only to the browser that asked for it, and
 * only once: the ids of answers that were used are kept until they could not be used anyway.
 */
import type { SignatureAlgorithm } from "@node-saml/node-saml/lib/types.d.ts";
import type { Clock } from "../../lib/clock.ts";
import { randomString } from "../../lib/random.ts";
import { loadSaml, type SamlClient } from "../../lib/saml.ts";
import { assertAttributes, type AttributeRequirement } from "./attribute_requirements.ts";
import { localpartFrom } from "./attribute_templates.ts";
import {
  type Arrival,
  type Departure,
  type IdentityProvider,
  type ProviderInfo,
  providerUnavailable,
  SsoError,
  type SsoPurpose,
} from "./identity_provider.ts";
import { assertRedirectUrl } from "./redirect_urls.ts";
import { readAttributes, type SamlAttributes, type XmlElement } from "./saml_attributes.ts";
import type { SamlIdp, SamlMetadata } from "./saml_metadata.ts";
import { assertFits, invalid, outlineOf } from "./saml_response.ts";
import type { SealedStates } from "./sealed_state.ts";

/** Options of the configuration. */
export interface SamlOptions {
  readonly info: ProviderInfo;
  readonly entityId: string;
  readonly acsUrl: string;
  readonly allowUnsolicited: boolean;
  readonly wantResponseSigned: boolean;
  readonly wantAssertionsSigned: boolean;
  readonly forceAuthn: boolean;
  readonly nameIdFormat: string | null;
  readonly authnContext: readonly string[];
  readonly providerName: string | null;
  readonly acceptedSkewMs: number;
  /** Keys and certificates as PEM; null where there are none. */
  readonly signingKey: string | null;
  readonly certificate: string | null;
  readonly decryptionKey: string | null;
  readonly decryptionCertificate: string | null;
  /** In milliseconds. */
  readonly sessionLifetime: number;
  readonly mxidSourceAttribute: string;
  readonly mxidMapping: "hexencode" | "dotreplace";
  /** Names an account of old; null where there are none. */
  readonly grandfatheredAttribute: string | null;
  readonly attributeRequirements: readonly AttributeRequirement[];
}

/** What the provider is built from. */
export interface SamlProviderDeps {
  readonly options: SamlOptions;
  readonly metadata: SamlMetadata;
  readonly states: SealedStates;
  readonly clock: Clock;
  /** Makes the cookies of a sealed state. */
  readonly cookies: (sealed: string) => readonly string[];
}

/** What a browser keeps while its user is away. */
export type SamlState = SsoPurpose & { readonly requestId: string; readonly begunTs: number };

/** What a browser brings back. */
export interface SamlAnswer {
  readonly response: string;
  readonly relayState: string;
  /** Null where the browser has none. */
  readonly state: SamlState | null;
}

/** The kind of state that a browser keeps. */
export const SAML_STATE = "saml2";
const REQUEST_ID_LENGTH = 32;
const SIGNATURES: SignatureAlgorithm = "sha256";
const SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success";
const MAX_USED = 100_000;
const MAX_NAME_LENGTH = 255;

/** The identity provider. */
export class SamlProvider implements IdentityProvider {
  readonly #deps: SamlProviderDeps;
  readonly #startedTs: number;
  /** Ids of assertions that were used, with when they run out. */
  readonly #used = new Map<string, number>();

  constructor(deps: SamlProviderDeps) {
    this.#deps = deps;
    this.#startedTs = deps.clock.now();
  }

  get info(): ProviderInfo {
    return this.#deps.options.info;
  }

  async depart(purpose: SsoPurpose): Promise<Departure> {
    const { states, clock, cookies } = this.#deps;
    const requestId = `_${randomString(REQUEST_ID_LENGTH)}`;
    const client = await this.#client(await this.#idp(), requestId);
    // Some providers insist on a state of their own.
    const location = await client.getAuthorizeUrlAsync(requestId, undefined, {});
    return { location, cookies: cookies(states.seal(SAML_STATE, { ...purpose, requestId, begunTs: clock.now() })) };
  }

  /** Returns what identity providers are told of the server. */
  async describe(): Promise<string> {
    const { entityId, certificate, decryptionCertificate } = this.#deps.options;
    const client = await this.#client({ entityId, ssoUrl: entityId, certificates: ["none"] }, null);
    return client.generateServiceProviderMetadata(decryptionCertificate, certificate);
  }

  /** Takes somebody back who brings an answer. Throws `SsoError`. */
  async arrive({ response, relayState, state }: SamlAnswer): Promise<Arrival> {
    const { options, clock } = this.#deps;
    const { inResponseTo, status } = outlineOf(response);
    const purpose = this.#purposeOf({ inResponseTo, relayState, state });
    if (status !== SUCCESS) throw new SsoError("unsuccessful_response", "The login provider did not let you in.");
    const idp = await this.#idp();
    const assertion = await this.#verified(response, { idp, inResponseTo });
    const now = clock.now();
    const { acsUrl: recipient, acceptedSkewMs: skewMs } = options;
    const facts = assertFits(assertion, { issuer: idp.entityId, recipient, requestId: inResponseTo, now, skewMs });
    if (inResponseTo === null && facts.issuedTs < this.#startedTs) throw replayed();
    this.#useUp(facts, now);
    return this.#arrival(purpose, readAttributes(assertion));
  }

  #arrival(purpose: SsoPurpose, attributes: SamlAttributes): Arrival {
    const { options } = this.#deps;
    const { attributeRequirements, grandfatheredAttribute } = options;
    const externalId = attributes.uid?.[0];
    if (externalId === undefined || externalId.length > MAX_NAME_LENGTH) {
      throw new SsoError("mapping_error", "'uid' not in SAML2 response");
    }
    if (purpose.kind === "login") assertAttributes(attributes, attributeRequirements);
    return {
      ...{ provider: this.info, purpose, externalId, authSession: null, extra: {}, mayRegister: true },
      // deno-lint-ignore require-await -- what it throws is to be a rejection
      attributes: async (failures) => {
        const source = attributes[options.mxidSourceAttribute]?.[0];
        if (source === undefined) {
          throw new SsoError("mapping_error", `${options.mxidSourceAttribute} not in SAML2 response`);
        }
        const localpart = options.mxidMapping === "hexencode" ? localpartFrom(source) : withDots(source);
        return {
          ...{ localpart: `${localpart}${failures === 0 ? "" : failures}`, confirmLocalpart: false, picture: null },
          ...{ displayName: attributes.displayName?.[0] ?? null, emails: attributes.email ?? [] },
        };
      },
      ownsAccount: grandfatheredAttribute === null ? null : () => {
        const name = attributes[grandfatheredAttribute]?.[0];
        return Promise.resolve(name === undefined ? null : localpartFrom(name));
      },
    };
  }

  /** Returns what somebody comes for. Throws for an answer that their browser did not ask for. */
  #purposeOf(
    { inResponseTo, relayState, state }: { inResponseTo: string | null } & Pick<SamlAnswer, "relayState" | "state">,
  ): SsoPurpose {
    const { options: { allowUnsolicited, sessionLifetime }, clock } = this.#deps;
    if (inResponseTo !== null) {
      if (state === null) throw new SsoError("missing_session", "No session cookie found, or one that is too old");
      if (state.requestId !== inResponseTo) {
        throw new SsoError("mismatching_session", "This login was begun in another browser, or another one after it.");
      }
      if (state.begunTs + sessionLifetime < clock.now()) {
        throw new SsoError("invalid_session", "This login took too long. Please begin again.");
      }
      return state;
    }
    if (!allowUnsolicited) throw new SsoError("unsolicited_response", "Unexpected SAML2 login.");
    assertRedirectUrl(relayState);
    return { kind: "login", redirectUrl: relayState };
  }

  /** Returns the assertion as far as a signature covers it. */
  async #verified(
    response: string,
    { idp, inResponseTo }: { idp: SamlIdp; inResponseTo: string | null },
  ): Promise<XmlElement> {
    const client = await this.#client(idp, inResponseTo);
    try {
      const { profile } = await client.validatePostResponseAsync({ SAMLResponse: response });
      const root = profile?.getAssertion?.() ?? {};
      if (typeof root.Assertion === "object" && root.Assertion !== null) return root.Assertion as XmlElement;
    } catch (error) {
      throw invalid("it was refused", error);
    }
    throw invalid("it has no assertion");
  }

  #useUp({ id, expiresTs }: { id: string; expiresTs: number }, now: number): void {
    for (const [old, until] of this.#used) {
      if (until > now && this.#used.size < MAX_USED) break;
      this.#used.delete(old);
    }
    if (this.#used.has(id)) throw replayed();
    this.#used.set(id, expiresTs);
  }

  async #idp(): Promise<SamlIdp> {
    try {
      return await this.#deps.metadata.idp();
    } catch (error) {
      throw providerUnavailable(error);
    }
  }

  /** Returns a client that knows of one request only. */
  async #client({ entityId, ssoUrl, certificates }: SamlIdp, requestId: string | null): Promise<SamlClient> {
    const { SAML, ValidateInResponseTo } = await loadSaml();
    const { options } = this.#deps;
    const { signingKey, certificate, decryptionKey, providerName, authnContext } = options;
    return new SAML({
      ...{ callbackUrl: options.acsUrl, issuer: options.entityId, audience: options.entityId },
      ...{ idpIssuer: entityId, entryPoint: ssoUrl, idpCert: [...certificates] },
      ...{ wantAuthnResponseSigned: options.wantResponseSigned, wantAssertionsSigned: options.wantAssertionsSigned },
      ...{ acceptedClockSkewMs: options.acceptedSkewMs, forceAuthn: options.forceAuthn },
      ...{ identifierFormat: options.nameIdFormat, signatureAlgorithm: SIGNATURES, digestAlgorithm: SIGNATURES },
      disableRequestedAuthnContext: authnContext.length === 0,
      authnContext: [...authnContext],
      generateUniqueId: () => requestId ?? `_${randomString(REQUEST_ID_LENGTH)}`,
      // Which request it answers is checked in `assertFits`, against what the browser kept.
      validateInResponseTo: ValidateInResponseTo.never,
      ...(signingKey === null ? {} : { privateKey: signingKey }),
      ...(certificate === null ? {} : { publicCert: certificate }),
      ...(decryptionKey === null ? {} : { decryptionPvk: decryptionKey }),
      ...(providerName === null ? {} : { providerName }),
    });
  }
}

function replayed(): SsoError {
  return new SsoError("replayed_response", "This login was used already. Please begin again.");
}

/** Synapse's `dotreplace`. */
function withDots(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9._=/+-]/g, ".").replace(/^_/, "");
}
