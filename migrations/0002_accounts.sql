-- Accounts: users, their devices and tokens, registration, interactive authentication, profiles.

CREATE TABLE users (
  user_id TEXT NOT NULL PRIMARY KEY,
  -- Null where nobody can log in with a password: guests, application services, single sign-on, deactivated.
  password_hash TEXT,
  is_guest BOOLEAN NOT NULL,
  is_admin BOOLEAN NOT NULL,
  -- "bot", "support" or one of the configured kinds.
  user_type TEXT,
  appservice_id TEXT,
  is_deactivated BOOLEAN NOT NULL,
  is_erased BOOLEAN NOT NULL,
  is_locked BOOLEAN NOT NULL,
  is_suspended BOOLEAN NOT NULL,
  is_shadow_banned BOOLEAN NOT NULL,
  created_ts BIGINT NOT NULL
);

CREATE TABLE devices (
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  display_name TEXT,
  created_ts BIGINT NOT NULL,
  last_seen_ts BIGINT,
  last_seen_ip TEXT,
  last_seen_user_agent TEXT,
  PRIMARY KEY (user_id, device_id)
);

-- Tokens are kept as SHA-256 in base64url: a copy of the database lets nobody in.
CREATE TABLE access_tokens (
  token_hash TEXT NOT NULL PRIMARY KEY,
  user_id TEXT NOT NULL,
  -- Null for tokens that an admin made to act as the user.
  device_id TEXT,
  created_ts BIGINT NOT NULL,
  expires_ts BIGINT,
  -- The refresh token issued with it.
  refresh_hash TEXT,
  -- False until the first request with it, which ends the refresh token before it.
  is_used BOOLEAN NOT NULL,
  -- When its user last proved who they are with it: by logging in or by interactive authentication.
  validated_ts BIGINT,
  -- The admin who made it.
  puppeted_by TEXT
);
CREATE INDEX access_tokens_device ON access_tokens (user_id, device_id);
CREATE INDEX access_tokens_puppets ON access_tokens (puppeted_by) WHERE puppeted_by IS NOT NULL;
CREATE INDEX access_tokens_refresh ON access_tokens (refresh_hash) WHERE refresh_hash IS NOT NULL;

CREATE TABLE refresh_tokens (
  token_hash TEXT NOT NULL PRIMARY KEY,
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  expires_ts BIGINT,
  -- When the whole session ends, however often it is refreshed.
  session_expires_ts BIGINT,
  -- The refresh token that the last use of this one gave.
  next_hash TEXT
);
CREATE INDEX refresh_tokens_device ON refresh_tokens (user_id, device_id);
CREATE INDEX refresh_tokens_next ON refresh_tokens (next_hash) WHERE next_hash IS NOT NULL;

CREATE TABLE login_tokens (
  token_hash TEXT NOT NULL PRIMARY KEY,
  user_id TEXT NOT NULL,
  expires_ts BIGINT NOT NULL
);
CREATE INDEX login_tokens_expires ON login_tokens (expires_ts);

-- Where a user was seen: one row for each device and address.
CREATE TABLE user_ips (
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  ip TEXT NOT NULL,
  user_agent TEXT NOT NULL,
  last_seen_ts BIGINT NOT NULL,
  PRIMARY KEY (user_id, device_id, ip)
);
CREATE INDEX user_ips_last_seen ON user_ips (last_seen_ts);

CREATE TABLE uia_sessions (
  session_id TEXT NOT NULL PRIMARY KEY,
  -- What the session was opened for; it authorizes nothing else.
  action TEXT NOT NULL,
  user_id TEXT,
  -- The request's body without `auth`, as JSON.
  request TEXT NOT NULL,
  -- Completed stages and what each one proved, as JSON.
  completed TEXT NOT NULL,
  -- What the request came to, once carried out, as JSON without secrets: a repeated request answers from it.
  outcome TEXT,
  last_used_ts BIGINT NOT NULL
);
CREATE INDEX uia_sessions_last_used ON uia_sessions (last_used_ts);

CREATE TABLE registration_tokens (
  token TEXT NOT NULL PRIMARY KEY,
  uses_allowed BIGINT,
  -- Reserved by registrations under way.
  pending BIGINT NOT NULL,
  completed BIGINT NOT NULL,
  expires_ts BIGINT
);

CREATE TABLE registration_nonces (
  nonce TEXT NOT NULL PRIMARY KEY,
  expires_ts BIGINT NOT NULL
);
CREATE INDEX registration_nonces_expires ON registration_nonces (expires_ts);

CREATE TABLE user_threepids (
  medium TEXT NOT NULL,
  address TEXT NOT NULL,
  user_id TEXT NOT NULL,
  validated_ts BIGINT NOT NULL,
  added_ts BIGINT NOT NULL,
  PRIMARY KEY (medium, address)
);
CREATE INDEX user_threepids_user ON user_threepids (user_id);

CREATE TABLE profiles (
  user_id TEXT NOT NULL PRIMARY KEY,
  displayname TEXT,
  avatar_url TEXT,
  -- Custom fields, as a JSON object.
  fields TEXT NOT NULL
);

-- Profile changes on their way into the member events of joined rooms; a row stays until every room is done.
CREATE TABLE profile_updates (
  user_id TEXT NOT NULL PRIMARY KEY,
  -- Grows with every change, so that a change made meanwhile starts over.
  version BIGINT NOT NULL,
  -- Rooms up to this id are done.
  done_room_id TEXT NOT NULL
);

-- Accounts whose rooms are being left after deactivation; a row stays until every room is left.
CREATE TABLE pending_departures (
  user_id TEXT NOT NULL PRIMARY KEY,
  reason TEXT NOT NULL
);
