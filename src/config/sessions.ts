/** Options of the manual's section "User session management". */
import { boolean, duration, object, option, type Schema, works } from "./schema.ts";

/** A lifetime in milliseconds, null where it has no end. */
const lifetime: Schema<number | null> = {
  kind: "duration",
  expects: `${duration.expects}, or "infinity"`,
  read: (value, at) => value === "infinity" || value === null ? null : duration.read(value, at),
};

const UI_AUTH = { session_timeout: option(duration, 0) };

const LOGIN_VIA_EXISTING_SESSION = {
  enabled: option(boolean, false),
  require_ui_auth: option(boolean, true),
  token_timeout: option(duration, "5m"),
};

/** The table of the section. */
export const SESSION_OPTIONS = {
  session_lifetime: option(lifetime, "infinity", works("How long any login lasts.")),
  refreshable_access_token_lifetime: option(
    lifetime,
    "5m",
    works("How long an access token lasts that comes with a refresh token."),
  ),
  refresh_token_lifetime: option(lifetime, "infinity", works("How long a refresh token lasts.")),
  nonrefreshable_access_token_lifetime: option(
    lifetime,
    "infinity",
    works("How long an access token lasts that has no refresh token."),
  ),
  ui_auth: option(
    object(UI_AUTH),
    {},
    works("How long a user-interactive authentication counts for further requests."),
  ),
  login_via_existing_session: option(
    object(LOGIN_VIA_EXISTING_SESSION),
    {},
    works("Let a logged-in device make a login token for another."),
  ),
};
