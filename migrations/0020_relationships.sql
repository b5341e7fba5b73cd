-- Threads of any depth (MSC2836): which event an event names as its parent, outliers included.

CREATE TABLE event_parents (
  event_nid BIGINT NOT NULL PRIMARY KEY,
  room_nid BIGINT NOT NULL,
  parent_id TEXT NOT NULL,
  rel_type TEXT NOT NULL
);
CREATE INDEX event_parents_parent ON event_parents (parent_id, room_nid);

-- What another server said of an event's children.
CREATE TABLE event_children_told (
  event_nid BIGINT NOT NULL PRIMARY KEY,
  -- JSON: how many there are, by rel_type.
  counts TEXT NOT NULL,
  -- SHA-256 of their ids.
  children_hash TEXT NOT NULL,
  -- False while children are known to exist that are not here and were not asked for.
  is_explored BOOLEAN NOT NULL
);
