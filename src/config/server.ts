/** Options of the manual's section "Server", except listeners and e-mail, which have their own files. */
import {
  anything,
  boolean,
  duration,
  integer,
  list,
  noEffect,
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
import { ipRange } from "./values.ts";

const PYTHON_ONLY = "it tunes the Python interpreter, which this server does not use";

/** Addresses that outbound requests may not reach unless allowed: special-use ranges of IPv4 and IPv6. */
export const PRIVATE_IP_RANGES: readonly string[] = [
  "127.0.0.0/8",
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "192.0.0.0/24",
  "169.254.0.0/16",
  "192.88.99.0/24",
  "198.18.0.0/15",
  "192.0.2.0/24",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "::1/128",
  "fe80::/10",
  "fc00::/7",
  "2001:db8::/32",
  "ff00::/8",
  "fec0::/10",
];

const PRESENCE = {
  enabled: option(oneOf([true, false, "untracked"]), true),
  include_offline_users_on_sync: option(boolean, false),
  last_active_granularity: option(duration, "1m"),
  sync_online_timeout: option(duration, "30s"),
  idle_timeout: option(duration, "5m"),
};

const MANHOLE = {
  username: option(string, "matrix"),
  password: option(secret, "rabbithole"),
  ssh_priv_key_path: option(nullable(string), null),
  ssh_pub_key_path: option(nullable(string), null),
};

const AUTHENTICATION_SERVICE = {
  enabled: option(boolean, false),
  endpoint: option(string, "http://localhost:8080"),
  force_http2: option(boolean, false),
  secret: option(nullable(secret), null),
  secret_path: option(nullable(string), null),
};

/** The table of the section. */
export const SERVER_OPTIONS = {
  modules: option(
    list(object({ module: required(string), config: option(record(anything), {}) })),
    [],
    noEffect("Python modules to load.", "modules are written in Python; this server has no Python"),
  ),
  server_name: required(string, works("The domain part of every user, room and event id; it can never be changed.")),
  pid_file: option(nullable(string), null, works("File that receives the process id.")),
  daemonize: option(
    boolean,
    false,
    works("Go to the background once the server runs, as `--daemonize` does. Needs `pid_file`."),
  ),
  print_pidfile: option(boolean, false, works("Print the path of the pid file at the start.")),
  user_agent_suffix: option(nullable(string), null, works("Text after the user agent of outbound requests.")),
  use_frozen_dicts: option(boolean, false, noEffect("Guard events against changes.", PYTHON_ONLY)),
  web_client_location: option(nullable(string), null, works("Where `/` redirects to.")),
  public_baseurl: option(
    nullable(string),
    null,
    works("The URL clients use; `/.well-known/matrix/client` is served when it is set."),
  ),
  serve_server_wellknown: option(
    boolean,
    false,
    works("Serve `/.well-known/matrix/server`, pointing other servers at port 443."),
  ),
  extra_well_known_client_content: option(
    record(anything),
    {},
    works("Further keys of `/.well-known/matrix/client`."),
  ),
  soft_file_limit: option(
    integer(),
    0,
    noEffect("Limit of open files.", "a process cannot raise its own limit here; set LimitNOFILE in the service unit"),
  ),
  presence: option(object(PRESENCE), {}, works("Who is online: on, off, or stored but not derived (`untracked`).")),
  require_auth_for_profile_requests: option(
    boolean,
    false,
    works("Require an access token to read profiles."),
  ),
  limit_profile_requests_to_users_who_share_rooms: option(
    boolean,
    false,
    works("Show a profile only to users who share a room with its owner."),
  ),
  include_profile_updates_in_sync: option(
    boolean,
    false,
    noEffect("Tell clients of changed profiles.", "a client that asks for it in sliding sync (MSC4262) is always told"),
  ),
  include_profile_data_on_invite: option(
    boolean,
    true,
    works("Put the name and avatar of the invited user into invites."),
  ),
  allow_public_rooms_without_auth: option(boolean, false, works("Let anyone read the public room directory.")),
  allow_public_rooms_over_federation: option(boolean, false, works("Let servers read the public room directory.")),
  default_room_version: option(
    string,
    "12",
    works('The version of new rooms. Synapse\'s default is "11" (or "10"); the specification recommends "12".'),
  ),
  gc_thresholds: option(nullable(list(integer())), null, noEffect("Garbage collector thresholds.", PYTHON_ONLY)),
  gc_min_interval: option(list(duration), ["1s", "10s", "30s"], noEffect("Garbage collector pauses.", PYTHON_ONLY)),
  filter_timeline_limit: option(
    integer({ min: -1 }),
    100,
    works("The most timeline events a filter may ask for; -1 is no limit."),
  ),
  block_non_admin_invites: option(boolean, false, works("Only server administrators may invite.")),
  enable_search: option(boolean, true, works("Whether messages can be searched.")),
  ip_range_blacklist: option(
    list(ipRange),
    PRIVATE_IP_RANGES,
    works("Addresses that outbound requests on behalf of users may not reach."),
  ),
  ip_range_whitelist: option(list(ipRange), [], works("Exceptions from `ip_range_blacklist`.")),
  manhole: option(nullable(integer({ max: 65535 })), null, noEffect("Port of a Python shell.", PYTHON_ONLY)),
  manhole_settings: option(object(MANHOLE), {}, noEffect("Login of the Python shell.", PYTHON_ONLY)),
  http_proxy: option(nullable(string), null, works("Proxy for pushes and URL previews over HTTP.")),
  https_proxy: option(
    nullable(string),
    null,
    works("Proxy for requests to other servers, and for pushes and URL previews over HTTPS."),
  ),
  no_proxy_hosts: option(list(string), [], works("Hosts reached without the proxy.")),
  matrix_authentication_service: option(
    object(AUTHENTICATION_SERVICE),
    {},
    works("Delegate accounts and logins to the Matrix Authentication Service. `force_http2` has no effect."),
  ),
  dummy_events_threshold: option(
    integer({ min: 1 }),
    10,
    works("The number of forward extremities of a room after which a dummy event joins them."),
  ),
  delete_stale_devices_after: option(nullable(duration), null, works("Delete devices not seen for this long.")),
  max_event_delay_duration: option(
    nullable(duration),
    null,
    works("The longest delay of a delayed event (MSC4140); unset turns delayed events off."),
  ),
  user_types: option(
    object({ default_user_type: option(nullable(string), null), extra_user_types: option(list(string), []) }),
    {},
    works("Types of accounts beside `support` and `bot`, and the one new accounts get."),
  ),
};
