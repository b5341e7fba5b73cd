-- Who users are at identity providers.
CREATE TABLE user_external_ids (
  auth_provider TEXT NOT NULL,
  external_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  PRIMARY KEY (auth_provider, external_id)
);
CREATE INDEX user_external_ids_user ON user_external_ids (user_id);

-- The login at the identity provider that a login token came from, and what the client is told beside its tokens.
ALTER TABLE login_tokens ADD COLUMN auth_provider TEXT;
ALTER TABLE login_tokens ADD COLUMN auth_session TEXT;
ALTER TABLE login_tokens ADD COLUMN login_extra TEXT;
CREATE INDEX login_tokens_auth_session ON login_tokens (auth_provider, auth_session) WHERE auth_session IS NOT NULL;

-- Devices that end with a login at an identity provider.
CREATE TABLE device_auth_sessions (
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  auth_provider TEXT NOT NULL,
  auth_session TEXT NOT NULL,
  PRIMARY KEY (user_id, device_id)
);
CREATE INDEX device_auth_sessions_session ON device_auth_sessions (auth_provider, auth_session);

-- New users who came from an identity provider and have yet to choose a name or agree to the terms.
CREATE TABLE sso_sessions (
  session_hash TEXT NOT NULL PRIMARY KEY,
  auth_provider TEXT NOT NULL,
  auth_session TEXT,
  -- What is known of the person and chosen so far, as JSON.
  data TEXT NOT NULL,
  expires_ts BIGINT NOT NULL
);
CREATE INDEX sso_sessions_expires ON sso_sessions (expires_ts);
CREATE INDEX sso_sessions_auth_session ON sso_sessions (auth_provider, auth_session) WHERE auth_session IS NOT NULL;
