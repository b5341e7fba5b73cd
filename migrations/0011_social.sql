-- Threads, and what users do about each other: the directory, reports, OpenID.

CREATE TABLE threads (
  room_nid BIGINT NOT NULL,
  -- The event that the thread starts from; it need not be known.
  root_id TEXT NOT NULL,
  -- Position of the last event in the thread that was not redacted.
  latest_position BIGINT NOT NULL,
  PRIMARY KEY (room_nid, root_id)
) /*sqlite: WITHOUT ROWID */;
CREATE INDEX threads_latest ON threads (room_nid, latest_position);
