-- Other servers: how they are reached, and their keys.

CREATE TABLE destinations (
  destination TEXT NOT NULL PRIMARY KEY,
  -- When the server was first found to fail; null while it works.
  failing_since_ts BIGINT,
  -- When it was last tried without success, and for how long it is left alone since then.
  last_failure_ts BIGINT NOT NULL,
  retry_interval_ms BIGINT NOT NULL
);
CREATE INDEX destinations_failing ON destinations (failing_since_ts) WHERE failing_since_ts IS NOT NULL;

CREATE TABLE server_keys (
  server_name TEXT NOT NULL,
  key_id TEXT NOT NULL,
  -- Unpadded base64.
  verify_key TEXT NOT NULL,
  -- Until when it counts: as published, but at most seven days from then; for a key that was retired, when that was.
  valid_until_ts BIGINT NOT NULL,
  -- Retired keys are good for old events only.
  is_retired BOOLEAN NOT NULL,
  fetched_ts BIGINT NOT NULL,
  PRIMARY KEY (server_name, key_id)
);

-- The newest document that lists a key, with the signatures of its server, for passing on as a notary.
CREATE TABLE server_key_documents (
  server_name TEXT NOT NULL,
  key_id TEXT NOT NULL,
  json TEXT NOT NULL,
  valid_until_ts BIGINT NOT NULL,
  fetched_ts BIGINT NOT NULL,
  PRIMARY KEY (server_name, key_id)
);

-- Membership events of users of other servers that came through us: we send them to the others in the room.
CREATE TABLE relayed_events (
  event_id TEXT NOT NULL PRIMARY KEY
) /*sqlite: WITHOUT ROWID */;
