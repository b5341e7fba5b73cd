-- Who agreed to the terms of the server.

CREATE TABLE user_consents (
  user_id TEXT NOT NULL PRIMARY KEY,
  -- The version agreed to last; null for none yet.
  version TEXT,
  consented_ts BIGINT,
  -- The version that the user was last asked about by a notice.
  notice_version TEXT
);
