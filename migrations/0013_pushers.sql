-- Where users want to be told of events while no client of theirs is running.

CREATE TABLE pushers (
  user_id TEXT NOT NULL,
  app_id TEXT NOT NULL,
  pushkey TEXT NOT NULL,
  kind TEXT NOT NULL,
  app_display_name TEXT NOT NULL,
  device_display_name TEXT NOT NULL,
  lang TEXT NOT NULL,
  profile_tag TEXT NOT NULL,
  -- A JSON object, with the gateway's URL.
  data TEXT NOT NULL,
  -- The device it goes with; null where it was made without one.
  device_id TEXT,
  pushkey_ts BIGINT NOT NULL,
  -- Position in the events stream up to which everything was pushed.
  cursor BIGINT NOT NULL,
  -- While the gateway does not answer: since when, how often it was tried, and when to try again.
  failing_since BIGINT,
  failures BIGINT NOT NULL,
  retry_ts BIGINT,
  PRIMARY KEY (user_id, app_id, pushkey)
);
CREATE INDEX pushers_app ON pushers (app_id, pushkey);

-- Replaced rooms whose members' rules and tags are on their way to the new room; a row stays until that is done.
CREATE TABLE room_successions (
  old_room_id TEXT NOT NULL,
  new_room_id TEXT NOT NULL,
  -- One user who came to the new room; empty for all local members of the old one.
  user_id TEXT NOT NULL,
  PRIMARY KEY (old_room_id, new_room_id, user_id)
);
