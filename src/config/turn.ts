/** Options of the manual's section "TURN", and of calls. */
import {
  anything,
  boolean,
  duration,
  list,
  notYet,
  nullable,
  object,
  option,
  record,
  secret,
  string,
} from "./schema.ts";

/** The table of the section. */
export const TURN_OPTIONS = {
  turn_uris: option(list(string), [], notYet("TURN servers that clients are told of.")),
  turn_shared_secret: option(nullable(secret), null, notYet("Secret shared with the TURN server, for credentials.")),
  turn_shared_secret_path: option(nullable(string), null, notYet("File with `turn_shared_secret`.")),
  turn_username: option(nullable(string), null, notYet("Fixed user name, where there is no shared secret.")),
  turn_password: option(nullable(secret), null, notYet("Fixed password, where there is no shared secret.")),
  turn_user_lifetime: option(duration, "1h", notYet("How long credentials last.")),
  turn_allow_guests: option(boolean, true, notYet("Whether guests get credentials.")),
  matrix_rtc: option(
    object({ transports: option(list(record(anything)), []) }),
    {},
    notYet("Transports for calls, such as LiveKit, that clients are told of."),
  ),
};
