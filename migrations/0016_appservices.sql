-- Application services: how far each one has been told, what it is being told, and the rooms it lists.

CREATE TABLE appservices (
  -- The id of the registration file.
  service_id TEXT NOT NULL PRIMARY KEY,
  -- Up to where in each stream its transactions have come, as a JSON object.
  positions TEXT NOT NULL,
  -- Of the last transaction that was made for it.
  last_txn_id BIGINT NOT NULL,
  -- Attempts in a row that failed, and when to try again.
  failures BIGINT NOT NULL,
  retry_ts BIGINT
);

-- What each service has not acknowledged yet: the same body under the same id until it does.
CREATE TABLE appservice_transactions (
  service_id TEXT NOT NULL,
  txn_id BIGINT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (service_id, txn_id)
);

-- The rooms that services list in the networks they bridge.
CREATE TABLE appservice_room_list (
  service_id TEXT NOT NULL,
  network_id TEXT NOT NULL,
  room_id TEXT NOT NULL,
  PRIMARY KEY (service_id, network_id, room_id)
);
CREATE INDEX appservice_room_list_room ON appservice_room_list (room_id);

-- To find what services are to get: other readers ask by device.
CREATE INDEX to_device_messages_position ON to_device_messages (position);

-- To find what users are told of rooms that this server is not in.
CREATE INDEX local_memberships_stream ON local_memberships (position);

-- Rooms that guests may no longer be in; a row stays until all of them are out.
CREATE TABLE guest_evictions (
  room_id TEXT NOT NULL PRIMARY KEY
);
