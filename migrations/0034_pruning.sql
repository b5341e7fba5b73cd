-- Whether the stored JSON of a redacted event has been cut down to what the redaction leaves.
ALTER TABLE events ADD COLUMN is_pruned BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX events_unpruned ON events (redacted_by_nid) WHERE redacted_by_nid IS NOT NULL AND NOT is_pruned;

CREATE INDEX devices_last_seen ON devices (last_seen_ts) WHERE last_seen_ts IS NOT NULL;
