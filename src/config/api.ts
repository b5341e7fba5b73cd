/** Options of the manual's sections "API Configuration" and "Signing Keys". */
import {
  boolean,
  duration,
  integer,
  list,
  noEffect,
  nullable,
  object,
  option,
  record,
  required,
  type Schema,
  secret,
  string,
  works,
} from "./schema.ts";
import { serverName } from "./values.ts";

/** An event type whose state invited people see, with a state key where only one is meant. */
export interface PrejoinStateType {
  readonly type: string;
  readonly stateKey: string | null;
}

const prejoinType: Schema<PrejoinStateType> = {
  kind: "string or pair",
  expects: "an event type, or a pair of an event type and a state key",
  read(value, at) {
    if (!Array.isArray(value)) return { type: string.read(value, at), stateKey: null };
    const [type, stateKey] = list(string).read(value, at);
    return { type: string.read(type, at), stateKey: stateKey ?? null };
  },
};

const PREJOIN_STATE = {
  disable_default_event_types: option(boolean, false),
  additional_event_types: option(list(prejoinType), []),
};

const TOKENS_ARE_STORED = "tokens are random and stored here, so that none is signed with it";

const OLD_KEY = { key: required(string), expired_ts: required(integer()) };

const KEY_SERVER = {
  server_name: required(serverName),
  verify_keys: option(nullable(record(string)), null),
  accept_keys_insecurely: option(boolean, false),
};

/** The table of the section "API Configuration". */
export const API_OPTIONS = {
  room_prejoin_state: option(object(PREJOIN_STATE), {}, works("What people see of a room before they join.")),
  track_puppeted_user_ips: option(
    boolean,
    false,
    works("Where an administrator acts as a user, note the address for the user too, not for the administrator alone."),
  ),
  app_service_config_files: option(
    list(string),
    [],
    works("Registration files of application services."),
  ),
  track_appservice_user_ips: option(boolean, false, works("Keep addresses of users of application services.")),
  use_appservice_legacy_authorization: option(
    boolean,
    false,
    works("Send the token to application services in the query as well."),
  ),
  macaroon_secret_key: option(
    nullable(secret),
    null,
    noEffect("Secret that signs short-lived tokens.", TOKENS_ARE_STORED),
  ),
  macaroon_secret_key_path: option(
    nullable(string),
    null,
    noEffect("File with `macaroon_secret_key`.", TOKENS_ARE_STORED),
  ),
  form_secret: option(
    nullable(secret),
    null,
    works("Secret that protects the links of `user_consent`."),
  ),
  form_secret_path: option(
    nullable(string),
    null,
    works("File with `form_secret`."),
  ),
};

/** The table of the section "Signing Keys". */
export const SIGNING_KEY_OPTIONS = {
  signing_key_path: option(
    nullable(string),
    null,
    works("File with the signing key; `SERVER_NAME.signing.key` beside the configuration where it is not set."),
  ),
  signing_key: option(nullable(secret), null, works("The signing key itself, in place of a file.")),
  old_signing_keys: option(record(object(OLD_KEY)), {}, works("Keys used in the past, with the time they ended.")),
  key_refresh_interval: option(duration, "1d", works("How long other servers may keep our keys.")),
  trusted_key_servers: option(
    list(object(KEY_SERVER)),
    [{ server_name: "matrix.org" }],
    works("Servers asked for the keys of other servers; with none the servers themselves are asked."),
  ),
  suppress_key_server_warning: option(
    boolean,
    false,
    noEffect("Do not warn about matrix.org as key server.", "there is no such warning"),
  ),
  key_server_signing_keys_path: option(nullable(string), null, works("Key that signs as a key server.")),
};
