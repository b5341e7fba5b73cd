/** Rules for the options of logins by other means. */
import type { SectionValues } from "./config.ts";
import { checkSaml } from "./saml.ts";
import type { Report } from "./schema.ts";

/** Algorithms that tokens may be signed with. `none` is no signature. */
const ALGORITHMS = ["EdDSA", "ES256", "ES384", "ES512", "HS256", "HS384", "HS512", "PS256", "PS384", "PS512"]
  .concat(["RS256", "RS384", "RS512"]);

/** Reports what contradicts itself or could not work. */
export function checkSso(values: SectionValues, report: Report): void {
  checkJwt(values, report);
  checkCas(values, report);
  checkSaml(values, report);
  for (const [i, provider] of values.sso.oidcProviders.entries()) {
    checkOidc(provider, { report, path: ["oidc_providers", i] });
  }
  const ids = values.sso.oidcProviders.map(({ idpId }) => idpId);
  for (const [i, id] of ids.entries()) {
    if (ids.indexOf(id) < i) report.problem(["oidc_providers", i, "idp_id"], `"${id}" is the id of another provider`);
  }
}

type OidcValues = SectionValues["sso"]["oidcProviders"][number];

/** What Synapse calls the rules that are built in here. */
const BUILT_IN_MAPPINGS: readonly (string | null)[] = [
  null,
  "synapse.config.oidc_config.JinjaOidcMappingProvider",
  "synapse.handlers.oidc.JinjaOidcMappingProvider",
  "synapse.handlers.oidc_handler.JinjaOidcMappingProvider",
];

function checkOidc(
  provider: OidcValues,
  { report, path }: { report: Report; path: readonly (string | number)[] },
): void {
  const { idpId, idpIcon, idpBrand, clientSecretJwtKey, issuer, userMappingProvider } = provider;
  if (!/^[A-Za-z0-9._~-]{1,250}$/.test(idpId)) {
    report.problem([...path, "idp_id"], 'must be of letters, digits, ".", "_", "~" and "-" only');
  }
  if (idpIcon !== null && !/^mxc:\/\/[^/]+\/[^/]+$/.test(idpIcon)) {
    report.problem([...path, "idp_icon"], 'must be the "mxc://" address of a picture');
  }
  if (idpBrand !== null && !/^[a-z][a-z0-9_.-]{0,254}$/.test(idpBrand)) {
    report.problem([...path, "idp_brand"], 'must begin with a small letter and be of a-z, 0-9, ".", "_" and "-" only');
  }
  if (!URL.canParse(issuer)) report.problem([...path, "issuer"], "must be an address");
  if (clientSecretJwtKey !== null) {
    const { key, keyFile, jwtHeader } = clientSecretJwtKey;
    const at = [...path, "client_secret_jwt_key"];
    if ((key === null) === (keyFile === null)) report.problem(at, 'needs either "key" or "key_file"');
    if (typeof jwtHeader.alg !== "string") report.problem([...at, "jwt_header", "alg"], "is missing");
  }
  if (!BUILT_IN_MAPPINGS.includes(userMappingProvider.module)) {
    report.problem([...path, "user_mapping_provider", "module"], "is a Python module, and this server has no Python");
  }
}

function checkCas({ sso: { casConfig } }: SectionValues, report: Report): void {
  if (casConfig === null || !casConfig.enabled) return;
  if (!URL.canParse(casConfig.serverUrl)) report.problem(["cas_config", "server_url"], "must be an address");
  if (!/^[A-Za-z0-9]*$/.test(casConfig.numericIdsPrefix)) {
    report.problem(["cas_config", "numeric_ids_prefix"], "must be of letters and digits only");
  }
}

function checkJwt({ sso: { jwtConfig } }: SectionValues, report: Report): void {
  if (jwtConfig === null || !jwtConfig.enabled) return;
  if (!jwtConfig.secret) report.problem(["jwt_config", "secret"], "is missing");
  if (jwtConfig.algorithm === null) report.problem(["jwt_config", "algorithm"], "is missing");
  else if (!ALGORITHMS.includes(jwtConfig.algorithm)) {
    report.problem(["jwt_config", "algorithm"], `must be one of ${ALGORITHMS.join(", ")}`);
  }
}
