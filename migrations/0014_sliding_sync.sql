-- Sliding sync (MSC4186): what each connection was sent. A connection starts over when it is lost, so nothing else
-- depends on these tables.

CREATE TABLE sliding_connections (
  conn_key TEXT NOT NULL PRIMARY KEY,
  user_id TEXT NOT NULL,
  -- Empty for a requester without a device.
  device_id TEXT NOT NULL,
  -- Empty when the client gave none.
  conn_id TEXT NOT NULL,
  -- The state that the client has for certain, and the last one that was written. Each response that changes the state
  -- makes a new one, of which the client has only one or the other.
  acked_state BIGINT NOT NULL,
  last_state BIGINT NOT NULL,
  last_used_ts BIGINT NOT NULL,
  UNIQUE (user_id, device_id, conn_id)
);
CREATE INDEX sliding_connections_used ON sliding_connections (last_used_ts);

-- What was sent of a room: the row with the greatest state not above the client's counts.
CREATE TABLE sliding_rooms (
  conn_key TEXT NOT NULL,
  room_nid BIGINT NOT NULL,
  state BIGINT NOT NULL,
  -- Up to which position of the events stream; -1 for everything up to the client's position.
  events BIGINT NOT NULL,
  -- The same for receipts and for account data; -2 for nothing yet.
  receipts BIGINT NOT NULL,
  account_data BIGINT NOT NULL,
  -- 'join', 'leave' or 'stripped': as what it was shown.
  shown TEXT NOT NULL,
  timeline_limit BIGINT NOT NULL,
  is_dm BOOLEAN NOT NULL,
  selection_nid BIGINT NOT NULL,
  PRIMARY KEY (conn_key, room_nid, state)
) /*sqlite: WITHOUT ROWID */;
CREATE INDEX sliding_rooms_state ON sliding_rooms (conn_key, state);

-- The selections of state that rooms of a connection were sent; many rooms share one.
CREATE TABLE sliding_selections (
  conn_key TEXT NOT NULL,
  selection_nid BIGINT NOT NULL,
  -- See `StateSelection`.
  text TEXT NOT NULL,
  PRIMARY KEY (conn_key, selection_nid)
) /*sqlite: WITHOUT ROWID */;

-- For receipts of the events that a room is first shown with.
CREATE INDEX receipts_event ON receipts (room_nid, event_id);
