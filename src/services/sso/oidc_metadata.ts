/** What a provider says of itself: its endpoints and its keys. Spec: OpenID Connect Discovery 1.0. */
import type { JSONWebKeySet } from "jose";
import type { SendBounded } from "../../lib/bounded_request.ts";
import type { Clock } from "../../lib/clock.ts";
import { isJsonObject, type JsonObject } from "../../protocol/json.ts";
import { type OidcOptions, usesUserinfo } from "./oidc_options.ts";

/** The endpoints and abilities of a provider. */
export interface OidcMetadata {
  readonly issuer: string;
  readonly authorizationEndpoint: string;
  readonly tokenEndpoint: string;
  readonly userinfoEndpoint: string | null;
  readonly jwksUri: string | null;
  readonly usesPkce: boolean;
  readonly algorithms: readonly string[];
}

/** What the metadata is loaded with. */
export interface OidcDiscoveryDeps {
  readonly send: SendBounded;
  readonly clock: Clock;
  readonly options: OidcOptions;
}

/** Metadata is asked for again after this time. */
const METADATA_LIFETIME_MS = 24 * 3_600_000;
/** Keys are not asked for more often, whatever tokens come in. */
const KEYS_COOLDOWN_MS = 30_000;

interface Loaded<T> {
  readonly value: Promise<T>;
  readonly ts: number;
}

/** Knows a provider's metadata and keys, loaded when first needed and again after a failure. */
export class OidcDiscovery {
  readonly #deps: OidcDiscoveryDeps;
  #metadata: Loaded<OidcMetadata> | null = null;
  #keys: Loaded<JSONWebKeySet> | null = null;

  constructor(deps: OidcDiscoveryDeps) {
    this.#deps = deps;
  }

  /** Returns the metadata. Throws an `Error` for the operator where there is none, or none that could work. */
  async metadata(): Promise<OidcMetadata> {
    const now = this.#deps.clock.now();
    if (this.#metadata === null || this.#metadata.ts + METADATA_LIFETIME_MS <= now) {
      const loading = { value: this.#loadMetadata(), ts: now };
      this.#metadata = loading;
      loading.value.catch(() => {
        if (this.#metadata === loading) this.#metadata = null;
      });
    }
    return await this.#metadata.value;
  }

  /** Returns the keys; `isFresh` asks for them again, unless that was done a moment ago. */
  async keys({ isFresh = false }: { isFresh?: boolean } = {}): Promise<JSONWebKeySet> {
    const now = this.#deps.clock.now();
    if (this.#keys === null || (isFresh && this.#keys.ts + KEYS_COOLDOWN_MS <= now)) {
      const loading = { value: this.#loadKeys(), ts: now };
      this.#keys = loading;
      loading.value.catch(() => {
        if (this.#keys === loading) this.#keys = null;
      });
    }
    return await this.#keys.value;
  }

  async #loadMetadata(): Promise<OidcMetadata> {
    const { options } = this.#deps;
    const found = options.discover ? await this.#getJson(wellKnownUrl(options.issuer)) : { issuer: options.issuer };
    const pick = (given: string | null, name: string): string | null =>
      given ?? (typeof found[name] === "string" ? found[name] : null);
    const metadata = {
      issuer: typeof found.issuer === "string" ? found.issuer : options.issuer,
      authorizationEndpoint: pick(options.authorizationEndpoint, "authorization_endpoint") ?? "",
      tokenEndpoint: pick(options.tokenEndpoint, "token_endpoint") ?? "",
      userinfoEndpoint: pick(options.userinfoEndpoint, "userinfo_endpoint"),
      jwksUri: pick(options.jwksUri, "jwks_uri"),
      usesPkce: usesPkce(options, found),
      algorithms: options.idTokenSigningAlgValuesSupported ??
        stringsOf(found.id_token_signing_alg_values_supported) ?? ["RS256"],
    };
    assertUsable(metadata, { options, found });
    return metadata;
  }

  async #loadKeys(): Promise<JSONWebKeySet> {
    const { jwksUri } = await this.metadata();
    if (jwksUri === null) throw new Error('the provider names no "jwks_uri"');
    const set = await this.#getJson(jwksUri);
    if (!Array.isArray(set.keys)) throw new Error("the provider's keys are no JSON Web Key Set");
    return {
      keys: set.keys.filter(isJsonObject).filter(({ kty }) => kty !== "oct") as unknown as JSONWebKeySet["keys"],
    };
  }

  async #getJson(url: string): Promise<JsonObject> {
    const { status, text } = await this.#deps.send(url);
    if (status !== 200) throw new Error(`${url} answers ${status}`);
    const value = JSON.parse(text);
    if (!isJsonObject(value)) throw new Error(`${url} answers no JSON object`);
    return value;
  }
}

function wellKnownUrl(issuer: string): string {
  return `${issuer.replace(/\/+$/, "")}/.well-known/openid-configuration`;
}

function stringsOf(value: unknown): string[] | null {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : null;
}

function usesPkce({ pkceMethod }: OidcOptions, found: JsonObject): boolean {
  if (pkceMethod !== "auto") return pkceMethod === "always";
  return (stringsOf(found.code_challenge_methods_supported) ?? []).length > 0;
}

/** Throws for metadata that could not work or is not to be trusted. */
function assertUsable(metadata: OidcMetadata, { options, found }: { options: OidcOptions; found: JsonObject }): void {
  for (const name of ["authorizationEndpoint", "tokenEndpoint"] as const) {
    if (!URL.canParse(metadata[name])) throw new Error(`the provider has no ${name}`);
  }
  if (usesUserinfo(options)) {
    if (metadata.userinfoEndpoint === null) throw new Error('the provider names no "userinfo_endpoint"');
  } else if (metadata.jwksUri === null) throw new Error('the provider names no "jwks_uri"');
  if (options.skipVerification) return;
  const expected = options.issuer.replace(/\/+$/, "");
  if (metadata.issuer.replace(/\/+$/, "") !== expected) throw new Error(`the provider calls itself ${metadata.issuer}`);
  for (const url of [metadata.issuer, metadata.authorizationEndpoint, metadata.tokenEndpoint, metadata.jwksUri]) {
    if (url !== null && !isSecure(url)) throw new Error(`${url} is no https: address`);
  }
  const needed: readonly (readonly [string, string])[] = [
    ["response_types_supported", "code"],
    ["token_endpoint_auth_methods_supported", options.clientAuthMethod],
    ...(options.pkceMethod === "auto" ? [["code_challenge_methods_supported", "S256"] as const] : []),
  ];
  for (const [name, value] of needed) {
    const supported = stringsOf(found[name]);
    if (supported !== null && !supported.includes(value)) throw new Error(`"${value}" is not in "${name}"`);
  }
}

/** Providers on this machine, as in tests, need no encryption. */
function isSecure(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === "https:" || ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
}
