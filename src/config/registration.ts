/** Options of the manual's sections "Registration" and "Captcha". */
import {
  boolean,
  duration,
  integer,
  list,
  noEffect,
  nullable,
  object,
  oneOf,
  option,
  required,
  secret,
  string,
  works,
} from "./schema.ts";
import { pattern } from "./values.ts";

/** A medium of third-party identifiers. */
const medium = oneOf(["email", "msisdn"]);

/** The table of the section. */
export const REGISTRATION_OPTIONS = {
  enable_registration: option(
    boolean,
    false,
    works("Let anyone register, after one of the verifications below."),
  ),
  enable_registration_without_verification: option(
    boolean,
    false,
    works("Let anyone register without any verification."),
  ),
  registrations_require_3pid: option(
    list(medium),
    [],
    works("Identifiers every new account must have. `msisdn` needs `account_threepid_delegates`."),
  ),
  disable_msisdn_registration: option(
    boolean,
    false,
    works("Never ask new users for a phone number."),
  ),
  allowed_local_3pids: option(
    nullable(list(object({ medium: required(medium), pattern: required(pattern) }))),
    null,
    works("Identifiers that accounts may have."),
  ),
  enable_3pid_lookup: option(
    boolean,
    true,
    works("Invite people by their addresses, with the help of identity servers."),
  ),
  registration_requires_token: option(boolean, false, works("Ask for a registration token.")),
  registration_shared_secret: option(
    nullable(secret),
    null,
    works("Whoever knows it may register accounts, administrators too."),
  ),
  registration_shared_secret_path: option(
    nullable(string),
    null,
    works("File with `registration_shared_secret`; `--generate-keys` makes it."),
  ),
  bcrypt_rounds: option(integer({ min: 4, max: 31 }), 12, works("Cost of password hashes: 2 to this power.")),
  allow_guest_access: option(boolean, false, works("Let people in as guests.")),
  default_identity_server: option(nullable(string), null, works("Identity server that clients are told of.")),
  account_threepid_delegates: option(
    object({ msisdn: option(nullable(string), null) }),
    {},
    works("Address of the identity server (`msisdn`) that sends text messages to validate phone numbers."),
  ),
  enable_set_displayname: option(boolean, true, works("Let users change their display name.")),
  enable_set_avatar_url: option(boolean, true, works("Let users change their avatar.")),
  enable_3pid_changes: option(boolean, true, works("Let users change their identifiers.")),
  auto_join_rooms: option(list(string), [], works("Aliases of rooms that new users join.")),
  autocreate_auto_join_rooms: option(boolean, true, works("Create those rooms when the first user registers.")),
  autocreate_auto_join_rooms_federated: option(boolean, true, works("Let other servers into the created rooms.")),
  autocreate_auto_join_room_preset: option(
    oneOf(["public_chat", "private_chat", "trusted_private_chat"]),
    "public_chat",
    works("Preset of the created rooms."),
  ),
  auto_join_mxid_localpart: option(nullable(string), null, works("User that creates those rooms and invites.")),
  auto_join_rooms_for_guests: option(boolean, true, works("Whether guests join those rooms too.")),
  inhibit_user_in_use_error: option(boolean, false, works("Do not tell whether a user name is taken.")),
  allow_underscore_prefixed_registration: option(
    boolean,
    false,
    works("Let user names start with an underscore. Also read under Synapse's other name for it."),
  ),
};

/** The table of the section "Captcha". */
export const CAPTCHA_OPTIONS = {
  recaptcha_public_key: option(nullable(string), null, works("Site key of reCAPTCHA, hCaptcha or Turnstile.")),
  recaptcha_public_key_path: option(nullable(string), null, works("File with `recaptcha_public_key`.")),
  recaptcha_private_key: option(nullable(secret), null, works("Secret key of the captcha.")),
  recaptcha_private_key_path: option(nullable(string), null, works("File with `recaptcha_private_key`.")),
  enable_registration_captcha: option(boolean, false, works("Ask new users for a captcha.")),
  recaptcha_siteverify_api: option(
    string,
    "https://www.recaptcha.net/recaptcha/api/siteverify",
    works("Where captchas are checked; which kind they are follows from it."),
  ),
};

const ACCOUNT_VALIDITY = {
  enabled: option(boolean, false),
  period: option(nullable(duration), null),
  renew_at: option(nullable(duration), null),
  renew_email_subject: option(string, "[%(app)s] Renew your account on %(server_name)s"),
  startup_job_max_delta: option(nullable(duration), null),
};

/** Options that Synapse reads and its manual leaves out. */
export const REGISTRATION_EXTRAS = {
  account_validity: option(
    object(ACCOUNT_VALIDITY),
    {},
    works(
      "Let accounts expire after `period`, and remind people by mail `renew_at` before. All old accounts begin at once.",
    ),
  ),
  enable_registration_token_3pid_bypass: option(
    boolean,
    false,
    works("A registration token takes the place of the required identifiers."),
  ),
  dont_notify_new_devices_for: option(
    list(string),
    [],
    noEffect("Users whose new devices are not announced.", "other devices must always learn of new ones"),
  ),
};
