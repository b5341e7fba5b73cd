-- Events that are shown to clients until they expire, wherever the timeline has got to (MSC4354).

CREATE TABLE sticky_events (
  event_nid BIGINT NOT NULL PRIMARY KEY,
  room_nid BIGINT NOT NULL,
  -- Position in the events stream.
  position BIGINT NOT NULL,
  -- When it is sticky no more, in milliseconds since the epoch.
  end_ts BIGINT NOT NULL
);
CREATE INDEX sticky_events_room ON sticky_events (room_nid, position);
CREATE INDEX sticky_events_end ON sticky_events (end_ts);

-- How long the event is to be sticky once it is sent, in milliseconds.
ALTER TABLE delayed_events ADD COLUMN sticky_ms BIGINT;
