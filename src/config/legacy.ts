/**
 * Names that Synapse reads beside those of its manual: old names of options, which are rewritten to the present ones
 * before anything is checked, and options that are gone.
 */
import { anything, isMap, noEffect, type Option, option, type Options } from "./schema.ts";

/** The top level of a configuration as YAML gives it. */
export type RawConfig = Record<string, unknown>;

/** An old name: where it now belongs. */
interface OldName {
  /** What the value becomes, as top-level options. */
  readonly rewrite: (value: unknown, raw: RawConfig) => RawConfig;
  /** The present name, for the warning and the manual. */
  readonly now: string;
}

function inside(parent: string, name: string): OldName {
  return { now: `${parent}.${name}`, rewrite: (value) => ({ [parent]: { [name]: value } }) };
}

function renamed(name: string): OldName {
  return { now: name, rewrite: (value) => ({ [name]: value }) };
}

/** The old names. Sorted. */
const OLD_NAMES: Readonly<Record<string, OldName>> = {
  allow_underscore_prefixed_localpart: renamed("allow_underscore_prefixed_registration"),
  database_path: {
    now: "database.args.database",
    rewrite: (value) => ({ database: { name: "sqlite3", args: { database: value } } }),
  },
  disable_registration: {
    now: "enable_registration",
    rewrite: (value) => ({ enable_registration: value === false || value === "false" }),
  },
  federation_ip_range_blacklist: renamed("ip_range_blacklist"),
  federation_rc_concurrent: inside("rc_federation", "concurrent"),
  federation_rc_reject_limit: inside("rc_federation", "reject_limit"),
  federation_rc_sleep_delay: inside("rc_federation", "sleep_delay"),
  federation_rc_sleep_limit: inside("rc_federation", "sleep_limit"),
  federation_rc_window_size: inside("rc_federation", "window_size"),
  metrics_port: {
    now: "listeners",
    rewrite: (value, raw) => ({
      listeners: [
        ...(Array.isArray(raw.listeners) ? raw.listeners : []),
        { port: value, type: "metrics", bind_addresses: [raw.metrics_bind_host ?? "127.0.0.1"] },
      ],
    }),
  },
  oidc_config: {
    now: "oidc_providers",
    rewrite: (value) => isMap(value) && value.enabled === true ? { oidc_providers: [oidcProvider(value)] } : {},
  },
  rc_message_burst_count: inside("rc_message", "burst_count"),
  rc_messages_per_second: inside("rc_message", "per_second"),
  restrict_public_rooms_to_local_users: {
    now: "allow_public_rooms_over_federation",
    rewrite: (value) => ({ allow_public_rooms_over_federation: value === false }),
  },
  room_invite_state_types: {
    now: "room_prejoin_state",
    rewrite: (value) => ({ room_prejoin_state: { disable_default_event_types: true, additional_event_types: value } }),
  },
  use_presence: inside("presence", "enabled"),
};

function oidcProvider(value: RawConfig): RawConfig {
  const { enabled: _, ...provider } = value;
  return { idp_id: "oidc", idp_name: "OIDC", ...provider };
}

const GONE = "Synapse dropped or never documented it, and nothing here depends on it";
const PYTHON_MODULE = "it loads a Python module, and this server has no Python";

function gone(doc: string, because: string): Option<unknown> {
  return option(anything, null, noEffect(doc, because));
}

/** Options that Synapse reads and its manual leaves out, and that have no effect here. Sorted. */
export const LEGACY_OPTIONS = {
  backup_media_store_path: gone("Second folder of media.", "use `media_storage_providers`"),
  bind_host: gone("Address of a listener.", "use `listeners`"),
  bind_port: gone("Port of a listener.", "use `listeners`"),
  cleanup_extremities_with_dummy_events: gone("Merge forward extremities.", "it is always done"),
  enable_ephemeral_messages: gone("Messages that delete themselves.", GONE),
  gzip_responses: gone("Compress responses.", "use `compress` of a listener's resource"),
  ldap_config: gone("Login by LDAP.", PYTHON_MODULE),
  metrics_bind_host: gone("Address for `metrics_port`.", "it is read with `metrics_port`"),
  no_redirect_stdio: gone("Leave standard output alone.", "it is never redirected"),
  no_tls: gone("Serve without TLS.", "use `tls` of a listener"),
  password_providers: gone("Login by Python modules.", PYTHON_MODULE),
  perspectives: gone("Trusted key servers.", "use `trusted_key_servers`"),
  replication_torture_level: gone("Delays for tests.", GONE),
  soft_file_limit_warning: gone("Warning about open files.", GONE),
  spam_checker: gone("Python module against spam.", PYTHON_MODULE),
  synctl_cache_factor: gone("Cache factor set by synctl.", "use `caches.global_factor`"),
  synctl_cache_factors: gone("Cache factors set by synctl.", "use `caches.per_cache_factors`"),
  tls_dh_params_path: gone("Diffie-Hellman parameters.", "TLS here needs none"),
  third_party_event_rules: gone("Python module with rules for events.", PYTHON_MODULE),
  unsecure_port: gone("Port without TLS.", "use `listeners`"),
  use_account_validity_in_account_status: gone("Show expired accounts.", "there is no account status (MSC3720) here"),
  verbose: gone("Log more.", "use the file of `log_config`"),
  web_client: gone("Serve a web client.", "use `web_client_location`"),
  worker_main_http_uri: gone("Where the main process listens.", "processes have no roles here"),
  worker_replication_host: gone("Where the main process listens.", "processes have no roles here"),
  worker_replication_http_port: gone("Where the main process listens.", "processes have no roles here"),
  worker_replication_port: gone("Where the main process listens.", "processes have no roles here"),
} satisfies Options;

/** Returns the old names with the present ones. */
export function listOldNames(): readonly { readonly name: string; readonly now: string }[] {
  return Object.entries(OLD_NAMES).map(([name, { now }]) => ({ name, now }));
}

/** Returns the configuration in present names only; a present name that is set wins over the old one. */
export function rewriteOldNames(raw: RawConfig, warn: (name: string, message: string) => void): RawConfig {
  const result = { ...raw };
  for (const [name, { rewrite, now }] of Object.entries(OLD_NAMES)) {
    if (!Object.hasOwn(raw, name)) continue;
    delete result[name];
    warn(name, `is an old name; use "${now}"`);
    for (const [key, value] of Object.entries(rewrite(raw[name], result))) {
      const present = result[key];
      if (isMap(value) && isMap(present)) result[key] = { ...value, ...present };
      else if (present === undefined || key === "listeners") result[key] = value;
    }
  }
  return result;
}
