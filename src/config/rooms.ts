/** Options of the manual's sections "Rooms", "Push" and "Auto-accept invites". */
import {
  anything,
  boolean,
  duration,
  list,
  mapped,
  nullable,
  object,
  oneOf,
  option,
  record,
  required,
  string,
  works,
} from "./schema.ts";

const PUSH = {
  enabled: option(boolean, true),
  include_content: option(boolean, true),
  group_unread_count_by_room: option(boolean, true),
  jitter_delay: option(duration, "0s"),
};

const USER_DIRECTORY = {
  enabled: option(boolean, true),
  search_all_users: option(boolean, false),
  prefer_local_users: option(boolean, false),
  exclude_remote_users: option(boolean, false),
  show_locked_users: option(boolean, false),
};

const USER_CONSENT = {
  template_dir: option(nullable(string), null),
  version: option(anything, null),
  server_notice_content: option(nullable(object({ msgtype: required(string), body: required(string) })), null),
  send_server_notice_to_guests: option(boolean, false),
  block_events_error: option(nullable(string), null),
  require_at_registration: option(boolean, false),
  policy_name: option(string, "Privacy Policy"),
};

const SERVER_NOTICES = {
  system_mxid_localpart: required(string),
  system_mxid_display_name: option(nullable(string), "Notices"),
  system_mxid_avatar_url: option(nullable(string), null),
  room_name: option(string, "Server Notices"),
  room_avatar_url: option(nullable(string), null),
  room_topic: option(nullable(string), null),
  auto_join: option(boolean, false),
};

const RULE = {
  user_id: option(string, "*"),
  alias: option(string, "*"),
  room_id: option(string, "*"),
  action: option(oneOf(["allow", "deny"]), "allow"),
};

const AUTO_ACCEPT = {
  enabled: option(boolean, false),
  only_for_direct_messages: option(boolean, false),
  only_from_local_users: option(boolean, false),
  worker_to_run_on: option(nullable(string), null),
};

/** The table of the section "Push". */
export const PUSH_OPTIONS = {
  push: option(object(PUSH), {}, works("Push notifications: whether, with how much content, and how they count.")),
};

/** The table of the section "Rooms". */
export const ROOM_OPTIONS = {
  encryption_enabled_by_default_for_room_type: option(
    mapped(oneOf(["off", "all", "invite", false]), (value) => value === false ? "off" : value),
    "off",
    works("Encrypt new rooms: all of them, or those one must be invited to."),
  ),
  user_directory: option(object(USER_DIRECTORY), {}, works("Whom the user directory finds.")),
  user_consent: option(
    nullable(object(USER_CONSENT)),
    null,
    works("Terms that users must agree to. Needs `form_secret`."),
  ),
  server_notices: option(nullable(object(SERVER_NOTICES)), null, works("The user that sends server notices.")),
  enable_room_list_search: option(boolean, true, works("Whether the public room directory can be read.")),
  alias_creation_rules: option(nullable(list(object(RULE))), null, works("Who may make which aliases.")),
  room_list_publication_rules: option(nullable(list(object(RULE))), null, works("Who may publish which rooms.")),
  default_power_level_content_override: option(
    record(nullable(record(anything))),
    {},
    works("Power levels of new rooms, by preset."),
  ),
  forget_rooms_on_leave: option(boolean, false, works("Forget a room as soon as one leaves it.")),
  exclude_rooms_from_sync: option(list(string), [], works("Rooms that no sync shows.")),
  exclude_rooms_from_presence: option(list(string), [], works("Rooms that do not show who is online.")),
  auto_accept_invites: option(object(AUTO_ACCEPT), {}, works("Accept invites without asking.")),
};
