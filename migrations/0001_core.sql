-- What the server knows about itself.
CREATE TABLE server_meta (
  name TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) /*sqlite: WITHOUT ROWID */;

-- The last position given out in each stream.
CREATE TABLE stream_positions (
  stream TEXT NOT NULL PRIMARY KEY,
  position BIGINT NOT NULL
) /*sqlite: WITHOUT ROWID */;
INSERT INTO stream_positions (stream, position) VALUES
  ('account_data', 0),
  ('backfill', 0),
  ('caches', 0),
  ('device_lists', 0),
  ('events', 0),
  ('federation', 0),
  ('presence', 0),
  ('push_rules', 0),
  ('receipts', 0),
  ('to_device', 0);

-- Numeric ids are leased in blocks: every id below next_id has been given to some process.
CREATE TABLE id_blocks (
  sequence TEXT NOT NULL PRIMARY KEY,
  next_id BIGINT NOT NULL
) /*sqlite: WITHOUT ROWID */;
INSERT INTO id_blocks (sequence, next_id) VALUES
  ('event', 1),
  ('room', 1),
  ('state_key', 1),
  ('state_node', 1);
