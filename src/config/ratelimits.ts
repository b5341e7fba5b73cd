/** Options of the manual's section "Ratelimiting", with the defaults of Synapse's code. */
import { integer, nullable, object, option, works } from "./schema.ts";
import { rateLimit } from "./values.ts";

const LOGIN = {
  address: option(rateLimit, { per_second: 0.003, burst_count: 5 }),
  account: option(rateLimit, { per_second: 0.003, burst_count: 5 }),
  failed_attempts: option(rateLimit, { per_second: 0.17, burst_count: 3 }),
};

const JOINS = {
  local: option(rateLimit, { per_second: 0.1, burst_count: 10 }),
  remote: option(rateLimit, { per_second: 0.01, burst_count: 10 }),
};

const INVITES = {
  per_room: option(rateLimit, { per_second: 0.3, burst_count: 10 }),
  per_user: option(rateLimit, { per_second: 0.003, burst_count: 5 }),
  per_issuer: option(rateLimit, { per_second: 0.3, burst_count: 10 }),
};

const FEDERATION = {
  window_size: option(integer(), 1000),
  sleep_limit: option(integer(), 10),
  sleep_delay: option(integer(), 500),
  reject_limit: option(integer(), 50),
  concurrent: option(integer({ min: 1 }), 3),
};

/** The table of the section. */
export const RATELIMIT_OPTIONS = {
  rc_message: option(rateLimit, { per_second: 0.2, burst_count: 10 }, works("Events sent, by user.")),
  rc_registration: option(rateLimit, { per_second: 0.17, burst_count: 3 }, works("Registrations, by address.")),
  rc_registration_token_validity: option(
    rateLimit,
    { per_second: 0.1, burst_count: 5 },
    works("Checks of registration tokens, by address."),
  ),
  rc_login: option(object(LOGIN), {}, works("Logins by address and by account, and failed ones.")),
  rc_admin_redaction: option(
    nullable(rateLimit),
    null,
    works("Redactions by room administrators; unset counts them as messages."),
  ),
  rc_joins: option(object(JOINS), {}, works("Joins of rooms this server is in, and of others.")),
  rc_joins_per_room: option(rateLimit, { per_second: 1, burst_count: 10 }, works("Joins of one room by anyone.")),
  rc_3pid_validation: option(
    rateLimit,
    { per_second: 0.003, burst_count: 5 },
    works("Mails to validate addresses of people, by client and by address."),
  ),
  rc_invites: option(object(INVITES), {}, works("Invites by room, by invited user and by inviter.")),
  rc_third_party_invite: option(
    rateLimit,
    { per_second: 0.0025, burst_count: 5 },
    works("Invites by e-mail. Synapse's manual says 0.2 and 10; its code, followed here, 0.0025 and 5."),
  ),
  rc_media_create: option(rateLimit, { per_second: 10, burst_count: 50 }, works("Reserved media ids, by user.")),
  rc_federation: option(object(FEDERATION), {}, works("Requests of one server: when to delay and when to refuse.")),
  rc_presence: option(
    object({ per_user: option(rateLimit, { per_second: 0.1, burst_count: 1 }) }),
    {},
    works("Presence updates, by user."),
  ),
  rc_profile: option(rateLimit, { per_second: 1, burst_count: 500 }, works("Profile changes, by user.")),
  rc_delayed_event_mgmt: option(
    rateLimit,
    { per_second: 1, burst_count: 5 },
    works("Restarting, sending and cancelling of delayed events."),
  ),
  rc_reports: option(rateLimit, { per_second: 1, burst_count: 5 }, works("Reports of events, rooms and users.")),
  rc_room_creation: option(rateLimit, { per_second: 0.016, burst_count: 10 }, works("New rooms, by user.")),
  rc_user_directory: option(
    rateLimit,
    { per_second: 0.016, burst_count: 200 },
    works("Searches of the user directory, by user."),
  ),
  rc_key_requests: option(
    rateLimit,
    { per_second: 20, burst_count: 100 },
    works("Requests for keys to other devices, by user. Not in Synapse's manual."),
  ),
  federation_rr_transactions_per_room_per_second: option(
    integer({ min: 1 }),
    50,
    works("How many servers of a big room a second are told that somebody has read an old message."),
  ),
};
