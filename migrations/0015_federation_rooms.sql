-- What rooms and other servers owe each other.

-- The other servers with joined members in a room, and how many members those are.
CREATE TABLE room_servers (
  room_nid BIGINT NOT NULL,
  server_name TEXT NOT NULL,
  joined_members BIGINT NOT NULL,
  PRIMARY KEY (room_nid, server_name)
) /*sqlite: WITHOUT ROWID */;
CREATE INDEX room_servers_server ON room_servers (server_name, room_nid);

-- Answers to transactions, for those that are sent again.
CREATE TABLE received_transactions (
  origin TEXT NOT NULL,
  txn_id TEXT NOT NULL,
  response TEXT NOT NULL,
  received_ts BIGINT NOT NULL,
  PRIMARY KEY (origin, txn_id)
) /*sqlite: WITHOUT ROWID */;
CREATE INDEX received_transactions_ts ON received_transactions (received_ts);

-- Ids of to-device messages that were delivered, so that each is delivered once.
CREATE TABLE received_to_device (
  origin TEXT NOT NULL,
  message_id TEXT NOT NULL,
  received_ts BIGINT NOT NULL,
  PRIMARY KEY (origin, message_id)
) /*sqlite: WITHOUT ROWID */;
CREATE INDEX received_to_device_ts ON received_to_device (received_ts);

-- Events of rooms with other servers that are ours to send, by their position in the events stream.
CREATE TABLE federation_outbox (
  position BIGINT NOT NULL PRIMARY KEY,
  room_nid BIGINT NOT NULL,
  event_nid BIGINT NOT NULL,
  -- The server that the event came from, which has it already; null for our own.
  origin TEXT
);
CREATE INDEX federation_outbox_room ON federation_outbox (room_nid, position);

-- Servers that get an event of the outbox although they are not in the room after it.
CREATE TABLE federation_outbox_extra (
  destination TEXT NOT NULL,
  position BIGINT NOT NULL,
  PRIMARY KEY (destination, position)
) /*sqlite: WITHOUT ROWID */;

-- How far each server has got what is ours to send.
CREATE TABLE federation_cursors (
  destination TEXT NOT NULL PRIMARY KEY,
  -- In the events stream and in that of device lists.
  events BIGINT NOT NULL,
  device_lists BIGINT NOT NULL
) /*sqlite: WITHOUT ROWID */;

-- EDUs that must arrive: messages from device to device.
CREATE TABLE federation_edus (
  destination TEXT NOT NULL,
  position BIGINT NOT NULL,
  json TEXT NOT NULL,
  PRIMARY KEY (destination, position)
) /*sqlite: WITHOUT ROWID */;

-- The devices of users of other servers, as those servers listed them. Their keys are in device_keys.
CREATE TABLE remote_device_lists (
  user_id TEXT NOT NULL PRIMARY KEY,
  -- The last stream_id that the list holds.
  stream_id BIGINT NOT NULL,
  -- Something was missed: the list is to be fetched again before it is used.
  is_stale BOOLEAN NOT NULL
) /*sqlite: WITHOUT ROWID */;

CREATE TABLE remote_devices (
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  display_name TEXT,
  -- The device key object; null for a device without keys.
  key_json TEXT,
  PRIMARY KEY (user_id, device_id)
) /*sqlite: WITHOUT ROWID */;
