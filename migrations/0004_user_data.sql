-- What users keep with the server: account data (tags and read markers too), receipts, presence.

CREATE TABLE account_data (
  user_id TEXT NOT NULL,
  -- Empty for the user's global account data.
  room_id TEXT NOT NULL,
  type TEXT NOT NULL,
  -- A JSON object. Deleted entries stay as '{}' so that /sync can say so.
  content TEXT NOT NULL,
  position BIGINT NOT NULL,
  PRIMARY KEY (user_id, room_id, type)
);
CREATE INDEX account_data_position ON account_data (user_id, position);

CREATE TABLE receipts (
  room_nid BIGINT NOT NULL,
  receipt_type TEXT NOT NULL,
  user_id TEXT NOT NULL,
  -- Empty for a receipt outside of threads.
  thread_id TEXT NOT NULL,
  event_id TEXT NOT NULL,
  -- Of the event in the events stream; null while the event is not known here.
  event_position BIGINT,
  ts BIGINT NOT NULL,
  position BIGINT NOT NULL,
  PRIMARY KEY (room_nid, receipt_type, user_id, thread_id)
);
CREATE INDEX receipts_room_position ON receipts (room_nid, position);
CREATE INDEX receipts_position ON receipts (position);
CREATE INDEX receipts_user ON receipts (user_id, room_nid);

CREATE TABLE presence (
  user_id TEXT NOT NULL PRIMARY KEY,
  state TEXT NOT NULL,
  status_msg TEXT,
  last_active_ts BIGINT NOT NULL
);
