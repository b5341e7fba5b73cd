-- Rooms that were joined with a part of their state only (faster joins, MSC3706 and MSC3902). A row stays after the whole
-- state has come: a sync from before must then show the room as a new one.
CREATE TABLE partial_rooms (
  room_nid BIGINT NOT NULL PRIMARY KEY,
  -- The join: it and all later events have a state that lacks members.
  join_nid BIGINT NOT NULL,
  -- The servers in the room at the join, as the one that let us in told, that one first: a JSON list.
  servers TEXT NOT NULL,
  -- Position in the events stream at which the state became whole; null until then.
  completed_position BIGINT
);
CREATE INDEX partial_rooms_completed ON partial_rooms (completed_position);
