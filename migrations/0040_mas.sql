-- Until when the authentication service lets users replace their cross-signing keys without proving who they are.
CREATE TABLE cross_signing_resets (
  user_id TEXT NOT NULL PRIMARY KEY,
  until_ts BIGINT NOT NULL
);
