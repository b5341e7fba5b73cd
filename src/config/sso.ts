/** Options of the manual's section "Single sign-on integration", and of passwords. */
import {
  anything,
  boolean,
  duration,
  integer,
  list,
  nullable,
  object,
  oneOf,
  option,
  record,
  required,
  secret,
  string,
  works,
} from "./schema.ts";

const ATTRIBUTE_REQUIREMENT = {
  attribute: required(string),
  value: option(nullable(string), null),
  one_of: option(nullable(list(string)), null),
};

const MAPPING_PROVIDER = { module: option(nullable(string), null), config: option(record(anything), {}) };

const SAML2 = {
  idp_name: option(string, "SAML"),
  idp_icon: option(nullable(string), null),
  idp_brand: option(nullable(string), null),
  sp_config: option(nullable(record(anything)), null),
  config_path: option(nullable(string), null),
  mxid_source_attribute: option(nullable(string), null),
  mxid_mapping: option(nullable(string), null),
  saml_session_lifetime: option(duration, "15m"),
  user_mapping_provider: option(object(MAPPING_PROVIDER), {}),
  grandfathered_mxid_source_attribute: option(nullable(string), "uid"),
  attribute_requirements: option(list(object(ATTRIBUTE_REQUIREMENT)), []),
  idp_entityid: option(nullable(string), null),
  enabled: option(boolean, true),
};

const JWT_KEY = {
  key: option(nullable(secret), null),
  key_file: option(nullable(string), null),
  jwt_header: required(record(anything)),
  jwt_payload: option(record(anything), {}),
};

const OIDC = {
  idp_id: required(string),
  idp_name: required(string),
  idp_icon: option(nullable(string), null),
  idp_brand: option(nullable(string), null),
  discover: option(boolean, true),
  issuer: required(string),
  client_id: required(string),
  client_secret: option(nullable(secret), null),
  client_secret_path: option(nullable(string), null),
  client_secret_jwt_key: option(nullable(object(JWT_KEY)), null),
  client_auth_method: option(oneOf(["client_secret_basic", "client_secret_post", "none"]), "client_secret_basic"),
  pkce_method: option(oneOf(["auto", "always", "never"]), "auto"),
  id_token_signing_alg_values_supported: option(nullable(list(string)), null),
  scopes: option(list(string), ["openid"]),
  authorization_endpoint: option(nullable(string), null),
  token_endpoint: option(nullable(string), null),
  userinfo_endpoint: option(nullable(string), null),
  jwks_uri: option(nullable(string), null),
  skip_verification: option(boolean, false),
  user_profile_method: option(oneOf(["auto", "userinfo_endpoint"]), "auto"),
  redirect_uri: option(nullable(string), null),
  additional_authorization_parameters: option(record(string), {}),
  passthrough_authorization_parameters: option(list(string), []),
  allow_existing_users: option(boolean, false),
  enable_registration: option(boolean, true),
  user_mapping_provider: option(object(MAPPING_PROVIDER), {}),
  attribute_requirements: option(list(object(ATTRIBUTE_REQUIREMENT)), []),
  backchannel_logout_enabled: option(boolean, false),
  backchannel_logout_ignore_sub: option(boolean, false),
};

const CAS = {
  enabled: option(boolean, true),
  idp_name: option(string, "CAS"),
  idp_icon: option(nullable(string), null),
  idp_brand: option(nullable(string), null),
  server_url: required(string),
  protocol_version: option(nullable(integer({ min: 1, max: 3 })), null),
  displayname_attribute: option(nullable(string), null),
  required_attributes: option(record(nullable(string)), {}),
  enable_registration: option(boolean, true),
  allow_numeric_ids: option(boolean, false),
  numeric_ids_prefix: option(string, "u"),
};

const JWT = {
  enabled: option(boolean, false),
  secret: option(nullable(secret), null),
  secret_path: option(nullable(string), null),
  algorithm: option(nullable(string), null),
  subject_claim: option(string, "sub"),
  display_name_claim: option(nullable(string), null),
  issuer: option(nullable(string), null),
  audiences: option(nullable(list(string)), null),
};

const PASSWORD_POLICY = {
  enabled: option(boolean, false),
  minimum_length: option(integer(), 0),
  require_digit: option(boolean, false),
  require_symbol: option(boolean, false),
  require_lowercase: option(boolean, false),
  require_uppercase: option(boolean, false),
};

const PASSWORD = {
  enabled: option(oneOf([true, false, "only_for_reauth"]), true),
  localdb_enabled: option(boolean, true),
  pepper: option(nullable(secret), null),
  pepper_path: option(nullable(string), null),
  policy: option(object(PASSWORD_POLICY), {}),
};

const SAML_DOC =
  "Login by SAML 2. What is below `sp_config` are settings of pysaml2, as for Synapse; those that a service " +
  "provider needs work (`metadata`, `entityid`, `service.sp`, keys, `accepted_time_diff`), others are refused or, where " +
  "they are about the library itself, have no effect.";

/** The table of the section. */
export const SSO_OPTIONS = {
  saml2_config: option(nullable(object(SAML2)), null, works(SAML_DOC)),
  oidc_providers: option(list(object(OIDC)), [], works("Login by OpenID Connect or OAuth 2.0.")),
  cas_config: option(nullable(object(CAS)), null, works("Login by CAS.")),
  sso: option(
    object({
      client_whitelist: option(nullable(list(string)), null),
      update_profile_information: option(boolean, false),
    }),
    {},
    works("Clients trusted with logins, and whether each login updates the profile."),
  ),
  jwt_config: option(
    nullable(object(JWT)),
    null,
    works("Login by JSON Web Token; accounts are made with the first one."),
  ),
};

/** The table of passwords. */
export const PASSWORD_OPTIONS = {
  password_config: option(object(PASSWORD), {}, works("Login by password, and what passwords must be like.")),
};
