-- Threads, and what users do about each other: the directory, reports, OpenID.

CREATE TABLE threads (
  room_nid BIGINT NOT NULL,
  -- The event that the thread starts from; it need not be known.
  root_id TEXT NOT NULL,
  -- Position of the last event in the thread that was not redacted.
  latest_position BIGINT NOT NULL,
  PRIMARY KEY (room_nid, root_id)
) /*sqlite: WITHOUT ROWID */;
CREATE INDEX threads_latest ON threads (room_nid, latest_position);

-- Users who can be found: of this server by their profile, others as their member events show them.
CREATE TABLE user_directory (
  user_id TEXT NOT NULL PRIMARY KEY,
  display_name TEXT,
  avatar_url TEXT
);

-- Words of the name and the user id, under which users are found by how they begin.
CREATE TABLE user_directory_words (
  word TEXT NOT NULL,
  user_id TEXT NOT NULL,
  PRIMARY KEY (word, user_id)
) /*sqlite: WITHOUT ROWID */;
CREATE INDEX user_directory_words_user ON user_directory_words (user_id);

-- Rooms that anybody may join or read: their members can be found by everybody.
CREATE TABLE open_rooms (
  room_nid BIGINT NOT NULL PRIMARY KEY
);

-- What users reported to the administrators: an event of a room, a room, or a user.
CREATE TABLE reports (
  report_id BIGINT NOT NULL PRIMARY KEY,
  received_ts BIGINT NOT NULL,
  reporter TEXT NOT NULL,
  room_id TEXT,
  event_id TEXT,
  reported_user TEXT,
  reason TEXT,
  -- From -100 (most offensive) to 0; of events only.
  score BIGINT,
  CHECK (room_id IS NOT NULL OR reported_user IS NOT NULL)
);
CREATE INDEX reports_room ON reports (room_id) WHERE room_id IS NOT NULL;
CREATE INDEX reports_user ON reports (reported_user) WHERE reported_user IS NOT NULL;
INSERT INTO id_blocks (sequence, next_id) VALUES ('report', 1);

-- Tokens by which other services ask who a user is, as SHA-256.
CREATE TABLE openid_tokens (
  token_hash TEXT NOT NULL PRIMARY KEY,
  user_id TEXT NOT NULL,
  expires_ts BIGINT NOT NULL
);
CREATE INDEX openid_tokens_expires ON openid_tokens (expires_ts);

-- Events to be sent later (MSC4140). A row stays for a while after its end, so that a repeated request is recognized.
CREATE TABLE delayed_events (
  delay_id TEXT NOT NULL PRIMARY KEY,
  user_id TEXT NOT NULL,
  device_id TEXT,
  txn_id TEXT,
  room_id TEXT NOT NULL,
  type TEXT NOT NULL,
  -- Null for message events.
  state_key TEXT,
  content TEXT NOT NULL,
  delay_ms BIGINT NOT NULL,
  -- When the timer was last started.
  running_since BIGINT NOT NULL,
  send_ts BIGINT NOT NULL,
  -- When it was sent, cancelled or refused; null while it waits.
  ended_ts BIGINT
);
CREATE INDEX delayed_events_due ON delayed_events (send_ts) WHERE ended_ts IS NULL;
CREATE INDEX delayed_events_user ON delayed_events (user_id, running_since) WHERE ended_ts IS NULL;
CREATE INDEX delayed_events_state ON delayed_events (room_id) WHERE ended_ts IS NULL AND state_key IS NOT NULL;
CREATE INDEX delayed_events_ended ON delayed_events (ended_ts) WHERE ended_ts IS NOT NULL;
CREATE UNIQUE INDEX delayed_events_txn ON delayed_events (user_id, device_id, room_id, txn_id)
  WHERE txn_id IS NOT NULL;

-- Threads that users follow, or follow no more (MSC4306).
CREATE TABLE thread_subscriptions (
  user_id TEXT NOT NULL,
  room_nid BIGINT NOT NULL,
  root_id TEXT NOT NULL,
  -- Position of the last change in the account_data stream.
  position BIGINT NOT NULL,
  is_subscribed BOOLEAN NOT NULL,
  is_automatic BOOLEAN NOT NULL,
  -- The events stream when it was ended: what came before does not subscribe the user by itself again.
  ended_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, room_nid, root_id)
) /*sqlite: WITHOUT ROWID */;
CREATE INDEX thread_subscriptions_position ON thread_subscriptions (user_id, position);

-- Devices whose keys the server holds, encrypted, while nobody is logged in on them (MSC3814): one for each user.
CREATE TABLE dehydrated_devices (
  user_id TEXT NOT NULL PRIMARY KEY,
  device_id TEXT NOT NULL,
  -- A JSON object.
  device_data TEXT NOT NULL
);
