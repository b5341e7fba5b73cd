/** The identity providers of the configuration. */
import type { Config } from "../config/config.ts";
import { readSpConfig, type SpConfig } from "../config/saml.ts";
import { sendBounded } from "../lib/bounded_request.ts";
import type { Clock } from "../lib/clock.ts";
import { getLogger } from "../lib/log.ts";
import { reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";
import type { SigningKey } from "../protocol/signatures.ts";
import { AttributeTemplates } from "../services/sso/attribute_templates.ts";
import { CasProvider } from "../services/sso/cas_provider.ts";
import type { IdentityProvider } from "../services/sso/identity_provider.ts";
import type { SecretKey } from "../services/sso/oidc_options.ts";
import { EXTRA_PREFIX, OidcProvider } from "../services/sso/oidc_provider.ts";
import { SamlMetadata } from "../services/sso/saml_metadata.ts";
import { SamlProvider } from "../services/sso/saml_provider.ts";
import { SealedStates, STATE_LIFETIME_MS } from "../services/sso/sealed_state.ts";

/** The providers, and what their cookies are sealed with. */
export interface SsoProviders {
  readonly all: readonly IdentityProvider[];
  readonly oidc: readonly OidcProvider[];
  /** Null where there is none. */
  readonly cas: CasProvider | null;
  /** Null where there is none. */
  readonly saml: SamlProvider | null;
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

/** The cookie of a login by CAS. */
export const CAS_COOKIES = [["cas_session", "HttpOnly; SameSite=Lax"]] as const;

/** The cookies of a login by SAML, whose answer is a form that comes from another site. */
export const SAML_COOKIES = [
  ["saml2_session", "HttpOnly; Secure; SameSite=None"],
  ["saml2_session_no_samesite", "HttpOnly; Secure"],
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
  const cas = openCas(context);
  const saml = await openSaml(context);
  const others = [cas, saml].filter((provider) => provider !== null);
  return { all: [...others, ...oidc], oidc, cas, saml, states };
}

/** Returns the path below which browsers bring a provider's cookies back. */
export function cookiePath({ publicBaseurl }: Config, provider: "cas" | "oidc" | "saml2"): string {
  const folder = provider === "cas" ? "_matrix/client" : `_synapse/client/${provider}`;
  return `${new URL(publicBaseurl).pathname}${folder}`;
}

/** Returns what makes the cookies of a sealed state. */
function cookieMaker(
  cookies: readonly (readonly [string, string])[],
  path: string,
): (sealed: string) => readonly string[] {
  const lifetime = STATE_LIFETIME_MS / 1000;
  return (sealed) => cookies.map(([name, flags]) => `${name}=${sealed}; Max-Age=${lifetime}; Path=${path}; ${flags}`);
}

function openCas({ config, states }: Context): CasProvider | null {
  const { casConfig } = config.sso;
  if (casConfig === null || !casConfig.enabled) return null;
  const { idpName: name, idpIcon: icon, idpBrand: brand, allowNumericIds, requiredAttributes } = casConfig;
  return new CasProvider({
    ...{ states, send: sendBounded, cookies: cookieMaker(CAS_COOKIES, cookiePath(config, "cas")) },
    options: {
      ...casConfig,
      info: { id: "cas", name, icon, brand },
      serverUrl: casConfig.serverUrl.replace(/\/+$/, ""),
      requiredAttributes: Object.entries(requiredAttributes)
        .map(([attribute, value]) => ({ attribute, value, oneOf: null })),
      numericIdsPrefix: allowNumericIds ? casConfig.numericIdsPrefix : null,
      ticketUrl: `${config.publicBaseurl}_matrix/client/r0/login/cas/ticket`,
    },
  });
}

async function openSaml({ config, clock, states }: Context): Promise<SamlProvider | null> {
  const { saml2Config } = config.sso;
  if (saml2Config === null || !saml2Config.enabled || saml2Config.spConfig === null) return null;
  const read = readSpConfig(saml2Config.spConfig);
  if (!("metadata" in read)) throw new StartupError(`"saml2_config.sp_config" cannot be read`);
  const { idpName: name, idpIcon: icon, idpBrand: brand, userMappingProvider: { config: mapping } } = saml2Config;
  const { publicBaseurl } = config;
  const source = mapping.mxid_source_attribute ?? saml2Config.mxidSourceAttribute;
  return new SamlProvider({
    ...{ clock, states, cookies: cookieMaker(SAML_COOKIES, cookiePath(config, "saml2")) },
    metadata: await openMetadata(read, { clock, entityId: saml2Config.idpEntityid }),
    options: {
      ...read,
      info: { id: "saml", name, icon, brand },
      entityId: read.entityId ?? `${publicBaseurl}_synapse/client/saml2/metadata.xml`,
      acsUrl: read.acsUrl ?? `${publicBaseurl}_synapse/client/saml2/authn_response`,
      signingKey: await readNamed(read.signingKeyFile, "key_file"),
      certificate: await readNamed(read.certFile, "cert_file"),
      decryptionKey: await readNamed(read.encryptionKeyFile, "encryption_keypairs.0.key_file"),
      decryptionCertificate: await readNamed(read.encryptionCertFile, "encryption_keypairs.0.cert_file"),
      sessionLifetime: saml2Config.samlSessionLifetime,
      mxidSourceAttribute: typeof source === "string" ? source : "uid",
      mxidMapping: (mapping.mxid_mapping ?? saml2Config.mxidMapping) === "dotreplace" ? "dotreplace" : "hexencode",
      grandfatheredAttribute: saml2Config.grandfatheredMxidSourceAttribute,
      attributeRequirements: saml2Config.attributeRequirements,
    },
  });
}

async function openMetadata(
  { metadata: { local, remote, inline } }: SpConfig,
  { clock, entityId }: { clock: Clock; entityId: string | null },
): Promise<SamlMetadata> {
  const texts = [...inline];
  for (const [i, path] of local.entries()) texts.push(await readNamed(path, `metadata.local.${i}`) ?? "");
  const sources: { url: string; certificate: string | null }[] = [];
  for (const [i, { url, cert }] of remote.entries()) {
    sources.push({ url, certificate: await readNamed(cert, `metadata.remote.${i}.cert`) });
  }
  const log = getLogger("synapse.handlers.saml");
  try {
    return new SamlMetadata({ texts, remote: sources, entityId, send: sendBounded, clock, log });
  } catch (error) {
    throw new StartupError(`Cannot read the metadata of "saml2_config.sp_config.metadata": ${reasonOf(error)}`);
  }
}

async function readNamed(path: string | null, setting: string): Promise<string | null> {
  if (path === null) return null;
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new StartupError(`Cannot read ${path}, named by "saml2_config.sp_config.${setting}": ${reasonOf(error)}`);
  }
}

async function openOidc(
  options: OidcConfig,
  { config, clock, states, where }: Context & { where: string },
): Promise<OidcProvider> {
  const { texts, extraAttributes } = templatesOf(options);
  const clientSecret = options.clientSecret ?? await secretKeyOf(options, where);
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
    cookies: cookieMaker(OIDC_COOKIES, cookiePath(config, "oidc")),
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
    throw new StartupError(
      `Cannot read ${keyFile}, named by "${where}.client_secret_jwt_key.key_file": ${reasonOf(error)}`,
    );
  }
}
