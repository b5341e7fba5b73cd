-- What each event costs to write: less of it.

-- Which device sent an event under which transaction id is part of the event's row, where it needs no tree of its own:
-- repeats get the same event, and only that device sees the id.
ALTER TABLE events ADD COLUMN device_id TEXT;
ALTER TABLE events ADD COLUMN txn_id TEXT;
UPDATE events SET device_id = t.device_id, txn_id = t.txn_id FROM event_transactions t WHERE t.event_nid = events.event_nid;
DROP TABLE event_transactions;
-- The sender is who made the request. The type is part of the endpoint's path, for which a transaction id holds.
CREATE UNIQUE INDEX events_transaction ON events (sender, device_id, room_nid, txn_id, type) WHERE txn_id IS NOT NULL;

-- Parents are asked for their children and nothing else, when old events are deleted: one tree will do, of that order.
CREATE TABLE event_prev_by_parent (
  event_nid BIGINT NOT NULL,
  prev_nid BIGINT NOT NULL,
  PRIMARY KEY (prev_nid, event_nid)
) /*sqlite: WITHOUT ROWID */;
INSERT INTO event_prev_by_parent (event_nid, prev_nid)
SELECT event_nid, prev_nid FROM event_prev ORDER BY prev_nid, event_nid;
DROP TABLE event_prev;
ALTER TABLE event_prev_by_parent RENAME TO event_prev;

-- Only deleting old events by depth asked for it, and that can go by position as well.
DROP INDEX events_room_depth;
