-- Which events name an event as a parent: asked for when old events are deleted.
CREATE INDEX event_prev_prev ON event_prev (prev_nid);
