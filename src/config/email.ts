/** The option `email`. */
import {
  boolean,
  duration,
  integer,
  mapped,
  nullable,
  object,
  option,
  record,
  secret,
  string,
  works,
} from "./schema.ts";

const SUBJECTS: Readonly<Record<string, string>> = {
  message_from_person_in_room: "[%(app)s] You have a message on %(app)s from %(person)s in the %(room)s room...",
  message_from_person: "[%(app)s] You have a message on %(app)s from %(person)s...",
  messages_from_person: "[%(app)s] You have messages on %(app)s from %(person)s...",
  messages_in_room: "[%(app)s] You have messages on %(app)s in the %(room)s room...",
  messages_in_room_and_others: "[%(app)s] You have messages on %(app)s in the %(room)s room and others...",
  messages_from_person_and_others: "[%(app)s] You have messages on %(app)s from %(person)s and others...",
  invite_from_person_to_room: "[%(app)s] %(person)s has invited you to join the %(room)s room on %(app)s...",
  invite_from_person_to_space: "[%(app)s] %(person)s has invited you to join the %(space)s space on %(app)s...",
  invite_from_person: "[%(app)s] %(person)s has invited you to chat on %(app)s...",
  password_reset: "[%(server_name)s] Password reset",
  email_validation: "[%(server_name)s] Validate your email",
  email_already_in_use: "[%(server_name)s] Email already in use",
};

const EMAIL = {
  smtp_host: option(string, "localhost"),
  smtp_port: option(nullable(integer({ min: 1, max: 65535 })), null),
  smtp_user: option(nullable(string), null),
  smtp_pass: option(nullable(secret), null),
  smtp_pass_path: option(nullable(string), null),
  force_tls: option(boolean, false),
  require_transport_security: option(boolean, false),
  enable_tls: option(boolean, true),
  tlsname: option(nullable(string), null),
  notif_from: option(nullable(string), null),
  app_name: option(string, "Matrix"),
  enable_notifs: option(boolean, false),
  notif_for_new_users: option(boolean, true),
  notif_delay_before_mail: option(duration, "10m"),
  client_base_url: option(string, "https://matrix.to"),
  riot_base_url: option(nullable(string), null),
  validation_token_lifetime: option(duration, "1h"),
  invite_client_location: option(nullable(string), null),
  subjects: option(mapped(record(string), (given) => ({ ...SUBJECTS, ...given })), {}),
  smtp_ca_file: option(nullable(string), null),
};

/** The table of the section. */
export const EMAIL_OPTIONS = {
  email: option(
    nullable(object(EMAIL)),
    null,
    works(
      "How mails are sent, and about what. `smtp_ca_file`, which Synapse does not have, names a file with the authorities " +
        "of a mail server whose certificate is of one's own making.",
    ),
  ),
};
