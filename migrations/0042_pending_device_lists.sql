-- Users of other servers whose devices changed while a room's state lacked members: whether they are in the room, and so
-- whether anybody here is to be told, is known once the state is whole. The rows go then.
CREATE TABLE pending_device_lists (
  room_nid BIGINT NOT NULL,
  server TEXT NOT NULL,
  user_id TEXT NOT NULL,
  PRIMARY KEY (room_nid, server, user_id)
);
