/** Options of the manual's section "TURN", and of calls. */
import {
  anything,
  boolean,
  duration,
  list,
  nullable,
  object,
  option,
  record,
  secret,
  string,
  works,
} from "./schema.ts";

/** The table of the section. */
export const TURN_OPTIONS = {
  turn_uris: option(list(string), [], works("TURN servers that clients are told of.")),
  turn_shared_secret: option(nullable(secret), null, works("Secret shared with the TURN server, for credentials.")),
  turn_shared_secret_path: option(nullable(string), null, works("File with `turn_shared_secret`.")),
  turn_username: option(nullable(string), null, works("Fixed user name, where there is no shared secret.")),
  turn_password: option(nullable(secret), null, works("Fixed password, where there is no shared secret.")),
  turn_password_path: option(nullable(string), null, works("File with `turn_password`.")),
  turn_user_lifetime: option(duration, "1h", works("How long credentials last.")),
  turn_allow_guests: option(boolean, true, works("Whether guests get credentials.")),
  matrix_rtc: option(
    object({ transports: option(list(record(anything)), []) }),
    {},
    works("Transports for calls, such as LiveKit, that clients are told of."),
  ),
};
