-- Rooms, events, state. Numeric ids (`*_nid`) come from id_blocks (0001).

CREATE TABLE rooms (
  room_nid BIGINT NOT NULL PRIMARY KEY,
  room_id TEXT NOT NULL UNIQUE,
  room_version TEXT NOT NULL,
  -- Root of the resolved current state in the state tree; 0 is the empty state.
  state_root BIGINT NOT NULL,
  -- Position of the last event written to the room: a writer with an older copy of the room reloads it.
  last_position BIGINT NOT NULL,
  joined_members BIGINT NOT NULL,
  invited_members BIGINT NOT NULL,
  -- Listed in the public room directory.
  is_public BOOLEAN NOT NULL,
  created_ts BIGINT NOT NULL
);
CREATE INDEX rooms_public ON rooms (joined_members, room_nid) WHERE is_public;

CREATE TABLE state_keys (
  state_key_nid BIGINT NOT NULL PRIMARY KEY,
  type TEXT NOT NULL,
  state_key TEXT NOT NULL,
  UNIQUE (type, state_key)
);

CREATE TABLE events (
  event_nid BIGINT NOT NULL PRIMARY KEY,
  event_id TEXT NOT NULL UNIQUE,
  room_nid BIGINT NOT NULL,
  type TEXT NOT NULL,
  -- Null for message events.
  state_key_nid BIGINT,
  sender TEXT NOT NULL,
  depth BIGINT NOT NULL,
  -- Position in the events stream; negative for backfilled events; null for outliers.
  position BIGINT,
  origin_server_ts BIGINT NOT NULL,
  received_ts BIGINT NOT NULL,
  is_outlier BOOLEAN NOT NULL,
  is_rejected BOOLEAN NOT NULL,
  is_soft_failed BOOLEAN NOT NULL,
  -- Root of the state before the event; null for outliers.
  state_before BIGINT,
  -- Root of the state after the event: the same as before, unless it is an accepted state event.
  state_after BIGINT,
  -- 1 + the highest rank among its auth events, so that every auth edge leads to a lower rank.
  auth_rank BIGINT NOT NULL,
  -- The redaction in force, if any.
  redacted_by_nid BIGINT
);
CREATE INDEX events_room_position ON events (room_nid, position) WHERE position IS NOT NULL;
CREATE INDEX events_room_depth ON events (room_nid, depth, position) WHERE position IS NOT NULL;
CREATE INDEX events_room_ts ON events (room_nid, origin_server_ts) WHERE position IS NOT NULL;
CREATE INDEX events_position ON events (position) WHERE position IS NOT NULL;

-- The event exactly as hashed, signed and sent between servers (pruned once a redaction's retention is over).
CREATE TABLE event_json (
  event_nid BIGINT NOT NULL PRIMARY KEY,
  json TEXT NOT NULL
);

CREATE TABLE event_prev (
  event_nid BIGINT NOT NULL,
  prev_nid BIGINT NOT NULL,
  PRIMARY KEY (event_nid, prev_nid)
) /*sqlite: WITHOUT ROWID */;

-- Parents that are not in the database: the backward extremities.
CREATE TABLE event_prev_missing (
  missing_event_id TEXT NOT NULL,
  event_nid BIGINT NOT NULL,
  room_nid BIGINT NOT NULL,
  PRIMARY KEY (missing_event_id, event_nid)
) /*sqlite: WITHOUT ROWID */;
CREATE INDEX event_prev_missing_room ON event_prev_missing (room_nid);

CREATE TABLE event_auth (
  event_nid BIGINT NOT NULL,
  auth_nid BIGINT NOT NULL,
  PRIMARY KEY (event_nid, auth_nid)
) /*sqlite: WITHOUT ROWID */;

CREATE TABLE forward_extremities (
  room_nid BIGINT NOT NULL,
  event_nid BIGINT NOT NULL,
  PRIMARY KEY (room_nid, event_nid)
) /*sqlite: WITHOUT ROWID */;

-- Redactions by what they redact, so that one which comes first finds its target later.
CREATE TABLE redactions (
  redaction_nid BIGINT NOT NULL PRIMARY KEY,
  redacts_event_id TEXT NOT NULL
);
CREATE INDEX redactions_target ON redactions (redacts_event_id);

CREATE TABLE event_relations (
  event_nid BIGINT NOT NULL PRIMARY KEY,
  room_nid BIGINT NOT NULL,
  relates_to_id TEXT NOT NULL,
  rel_type TEXT NOT NULL,
  aggregation_key TEXT
);
CREATE INDEX event_relations_target ON event_relations (relates_to_id, rel_type, event_nid);

-- Which device sent an event under which transaction id: repeats get the same event, and only that device sees the id.
CREATE TABLE event_transactions (
  event_nid BIGINT NOT NULL PRIMARY KEY,
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  room_nid BIGINT NOT NULL,
  -- Of the event: a transaction id holds for one endpoint, and the type is part of its path.
  type TEXT NOT NULL,
  txn_id TEXT NOT NULL,
  created_ts BIGINT NOT NULL,
  UNIQUE (user_id, device_id, room_nid, txn_id, type)
);

-- Immutable nodes of the state tree.
CREATE TABLE state_nodes (
  node_id BIGINT NOT NULL PRIMARY KEY,
  room_nid BIGINT NOT NULL,
  data BYTEA NOT NULL
);
CREATE INDEX state_nodes_room ON state_nodes (room_nid);

CREATE TABLE current_state (
  room_nid BIGINT NOT NULL,
  state_key_nid BIGINT NOT NULL,
  type TEXT NOT NULL,
  state_key TEXT NOT NULL,
  event_nid BIGINT NOT NULL,
  -- Of m.room.member only.
  membership TEXT,
  PRIMARY KEY (room_nid, state_key_nid)
) /*sqlite: WITHOUT ROWID */;
CREATE INDEX current_state_members ON current_state (room_nid, membership) WHERE membership IS NOT NULL;
CREATE INDEX current_state_joined ON current_state (state_key, room_nid) WHERE membership = 'join';

-- How the current state changed, at the position of the event whose arrival changed it.
CREATE TABLE state_deltas (
  room_nid BIGINT NOT NULL,
  position BIGINT NOT NULL,
  state_key_nid BIGINT NOT NULL,
  type TEXT NOT NULL,
  state_key TEXT NOT NULL,
  event_nid BIGINT,
  prev_event_nid BIGINT,
  PRIMARY KEY (room_nid, position, state_key_nid)
) /*sqlite: WITHOUT ROWID */;
CREATE INDEX state_deltas_position ON state_deltas (position);

-- The membership of each local user in each room they ever had one in, invitations to rooms not joined here included.
CREATE TABLE local_memberships (
  user_id TEXT NOT NULL,
  room_nid BIGINT NOT NULL,
  membership TEXT NOT NULL,
  event_nid BIGINT NOT NULL,
  sender TEXT NOT NULL,
  -- Position of the membership event in the events stream.
  position BIGINT NOT NULL,
  forgotten BOOLEAN NOT NULL,
  -- Stripped state (a JSON array) as received with an invitation or a knock; null where the room's own state serves.
  stripped_state TEXT,
  PRIMARY KEY (user_id, room_nid)
) /*sqlite: WITHOUT ROWID */;
CREATE INDEX local_memberships_room ON local_memberships (room_nid, membership);
CREATE INDEX local_memberships_position ON local_memberships (user_id, position);
