-- Rooms that nobody here remembers, and when they are to be deleted. One whose deletion has begun must be finished before
-- the room can come back.
CREATE TABLE room_purges (
  room_nid BIGINT NOT NULL PRIMARY KEY,
  room_id TEXT NOT NULL,
  due_ts BIGINT NOT NULL,
  is_started BOOLEAN NOT NULL
);
CREATE INDEX room_purges_room ON room_purges (room_id);
CREATE INDEX room_purges_due ON room_purges (due_ts);
