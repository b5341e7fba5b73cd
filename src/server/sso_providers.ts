/** The identity providers of the configuration. */
import type { Config } from "../config/config.ts";
import { sendBounded } from "../lib/bounded_request.ts";
import type { Clock } from "../lib/clock.ts";
import { getLogger } from "../lib/log.ts";
import { StartupError } from "../lib/startup_error.ts";
import type { SigningKey } from "../protocol/signatures.ts";
import { AttributeTemplates } from "../services/sso/attribute_templates.ts";
import type { IdentityProvider } from "../services/sso/identity_provider.ts";
import type { SecretKey } from "../services/sso/oidc_options.ts";
import { EXTRA_PREFIX, OidcProvider } from "../services/sso/oidc_provider.ts";
import { SealedStates, STATE_LIFETIME_MS } from "../services/sso/sealed_state.ts";

/** The providers, and what their cookies are sealed with. */
export interface SsoProviders {
  readonly all: readonly IdentityProvider[];
  readonly oidc: readonly OidcProvider[];
  readonly states: SealedStates;
}

/** What providers are made of. */
interface Context {
  readonly config: Config;
  readonly clock: Clock;
  readonly states: SealedStates;
}

type OidcConfig = Config["sso"]["oidcProviders"][number];

/** The cookies of a login by OpenID Connect: old browsers refuse the first, new ones the second from other sites. */
export const OIDC_COOKIES = [
  ["oidc_session", "HttpOnly; Secure; SameSite=None"],
  ["oidc_session_no_samesite", "HttpOnly; Secure"],
] as const;

/** Builds the providers. Throws `StartupError` for templates and keys that are none. */
export async function openSsoProviders(
  { config, clock, key }: { config: Config; clock: Clock; key: SigningKey },
): Promise<SsoProviders> {
  const states = new SealedStates({ key, clock });
  const context = { config, clock, states };
  const oidc: OidcProvider[] = [];
  for (const [i, options] of config.sso.oidcProviders.entries()) {
    oidc.push(await openOidc(options, { ...context, where: `oidc_providers.${i}` }));
  }
  return { all: [...oidc], oidc, states };
}

/** Returns the path below which browsers bring a provider's cookies back. */
export function cookiePath({ publicBaseurl }: Config, provider: "cas" | "oidc" | "saml2"): string {
  const folder = provider === "cas" ? "_matrix/client" : `_synapse/client/${provider}`;
  return `${new URL(publicBaseurl).pathname}${folder}`;
}

async function openOidc(
  options: OidcConfig,
  { config, clock, states, where }: Context & { where: string },
): Promise<OidcProvider> {
  const { texts, extraAttributes } = templatesOf(options);
  const clientSecret = options.clientSecret ?? await secretKeyOf(options, where);
  const path = cookiePath(config, "oidc");
  return new OidcProvider({
    ...{ clock, states, send: sendBounded, log: getLogger("synapse.handlers.oidc"), extraAttributes },
    options: {
      ...options,
      info: {
        // As Synapse names them, so that its accounts are found again.
        id: options.idpId === "oidc" ? "oidc" : `oidc-${options.idpId}`,
        ...{ name: options.idpName, icon: options.idpIcon, brand: options.idpBrand },
      },
      clientSecret,
      clientAuthMethod: clientSecret === null ? "none" : options.clientAuthMethod,
      callbackUrl: options.redirectUri ?? `${config.publicBaseurl}_synapse/client/oidc/callback`,
    },
    templates: await AttributeTemplates.load(texts, `${where}.user_mapping_provider.config`),
    confirmLocalpart: options.userMappingProvider.config.confirm_localpart === true,
    hasLocalpart: Object.hasOwn(texts, "localpart_template"),
    cookies: (sealed) =>
      OIDC_COOKIES.map(([name, flags]) =>
        `${name}=${sealed}; Max-Age=${STATE_LIFETIME_MS / 1000}; Path=${path}; ${flags}`
      ),
  });
}

/** Returns the templates of a provider: its own, and those that stand for claims. */
function templatesOf({ userMappingProvider: { config } }: OidcConfig): {
  texts: Record<string, string>;
  extraAttributes: string[];
} {
  const texts: Record<string, string> = {};
  for (const [name, claim] of [["subject", "sub"], ["picture", "picture"]]) {
    texts[`${name}_template`] = `{{ user.${config[`${name}_claim`] ?? claim} }}`;
  }
  for (const name of ["subject", "picture", "localpart", "display_name", "email"]) {
    const text = config[`${name}_template`];
    if (typeof text === "string" && text !== "") texts[`${name}_template`] = text;
  }
  const extra = config.extra_attributes;
  const entries = typeof extra === "object" && extra !== null ? Object.entries(extra) : [];
  for (const [name, text] of entries) texts[`${EXTRA_PREFIX}${name}`] = String(text);
  return { texts, extraAttributes: entries.map(([name]) => name) };
}

async function secretKeyOf({ clientSecretJwtKey }: OidcConfig, where: string): Promise<SecretKey | null> {
  if (clientSecretJwtKey === null) return null;
  const { key, keyFile, jwtHeader, jwtPayload } = clientSecretJwtKey;
  if (key !== null) return { key, jwtHeader, jwtPayload };
  try {
    return { key: await Deno.readTextFile(keyFile ?? ""), jwtHeader, jwtPayload };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartupError(`Cannot read ${keyFile}, named by "${where}.client_secret_jwt_key.key_file": ${reason}`);
  }
}
