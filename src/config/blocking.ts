/** Options of the manual's section "Homeserver blocking": limits, retention and templates. */
import {
  boolean,
  duration,
  integer,
  list,
  noEffect,
  nullable,
  number,
  object,
  option,
  record,
  required,
  size,
  string,
  works,
} from "./schema.ts";

const LIMIT_REMOTE_ROOMS = {
  enabled: option(boolean, false),
  complexity: option(number, 1),
  complexity_error: option(
    string,
    "Your homeserver is unable to join rooms this large or complex. Please speak to your server administrator, or " +
      "upgrade your instance to join this room.",
  ),
  admins_can_join: option(boolean, false),
};

const PURGE_JOB = {
  shortest_max_lifetime: option(nullable(duration), null),
  longest_max_lifetime: option(nullable(duration), null),
  interval: required(duration),
};

const RETENTION = {
  enabled: option(boolean, false),
  default_policy: option(
    object({ min_lifetime: option(nullable(duration), null), max_lifetime: option(nullable(duration), null) }),
    {},
  ),
  allowed_lifetime_min: option(nullable(duration), null),
  allowed_lifetime_max: option(nullable(duration), null),
  purge_jobs: option(list(object(PURGE_JOB)), [{ interval: "1d" }]),
};

/** The table of the section. */
export const BLOCKING_OPTIONS = {
  admin_contact: option(nullable(string), null, works("How to reach the administrator.")),
  hs_disabled: option(boolean, false, works("Refuse all use of the server.")),
  hs_disabled_message: option(
    string,
    "Homeserver is currently blocked",
    works("What users are told when the server is disabled."),
  ),
  limit_usage_by_mau: option(boolean, false, works("Limit the number of monthly active users.")),
  max_mau_value: option(integer(), 0, works("The most monthly active users.")),
  mau_trial_days: option(integer(), 0, works("Days before a new user counts as active.")),
  mau_appservice_trial_days: option(record(integer()), {}, works("The same for users of application services.")),
  mau_limit_alerting: option(boolean, true, works("Tell users by notices when the limit is reached.")),
  mau_stats_only: option(boolean, false, works("Count monthly active users without a limit.")),
  mau_limit_reserved_threepids: option(
    list(object({ medium: required(string), address: required(string) })),
    [],
    works("Identifiers whose users are let in over the limit."),
  ),
  server_context: option(
    nullable(string),
    null,
    noEffect("Label in usage reports.", "this server reports nothing to anyone"),
  ),
  limit_remote_rooms: option(object(LIMIT_REMOTE_ROOMS), {}, works("Refuse to join big rooms of other servers.")),
  require_membership_for_aliases: option(boolean, true, works("Only members may make aliases of a room.")),
  allow_per_room_profiles: option(boolean, true, works("Let users have another name or avatar in a room.")),
  max_avatar_size: option(nullable(size), null, works("The largest avatar.")),
  allowed_avatar_mimetypes: option(nullable(list(string)), null, works("Types of images that avatars may have.")),
  redaction_retention_period: option(
    nullable(duration),
    "7d",
    works("How long the content of redacted events is kept; null is for ever."),
  ),
  forgotten_room_retention_period: option(
    nullable(duration),
    null,
    works("When rooms that all local users have forgotten are deleted; null is never."),
  ),
  user_ips_max_age: option(nullable(duration), "28d", works("How long addresses of users are kept.")),
  request_token_inhibit_3pid_errors: option(boolean, false, works("Do not tell whether an identifier is in use.")),
  next_link_domain_whitelist: option(nullable(list(string)), null, works("Where links in mails may lead on to.")),
  templates: option(
    object({ custom_template_directory: option(nullable(string), null) }),
    {},
    works("Folder with templates that replace the built-in ones."),
  ),
  retention: option(
    object(RETENTION),
    {},
    works("Hide and delete old messages, as `m.room.retention` of their rooms says."),
  ),
};
