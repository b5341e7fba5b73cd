-- Push rules, and what is unread.

-- The rules a user made. `priority`: the highest is tried first.
CREATE TABLE push_rules (
  user_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  rule_id TEXT NOT NULL,
  priority BIGINT NOT NULL,
  enabled BOOLEAN NOT NULL,
  -- JSON lists; conditions and pattern are null where the kind has none.
  actions TEXT NOT NULL,
  conditions TEXT,
  pattern TEXT,
  PRIMARY KEY (user_id, kind, rule_id)
);

-- What a user changed about predefined rules; null is unchanged.
CREATE TABLE push_rule_changes (
  user_id TEXT NOT NULL,
  rule_id TEXT NOT NULL,
  enabled BOOLEAN,
  actions TEXT,
  PRIMARY KEY (user_id, rule_id)
);

-- Events that notify everybody who has the predefined rules: one row an event, however many members there are.
CREATE TABLE room_notifications (
  room_nid BIGINT NOT NULL,
  position BIGINT NOT NULL,
  sender TEXT NOT NULL,
  -- The root of the event's thread; empty for the main timeline.
  thread_id TEXT NOT NULL,
  highlight BOOLEAN NOT NULL,
  actions TEXT NOT NULL,
  PRIMARY KEY (room_nid, position)
) /*sqlite: WITHOUT ROWID */;

-- What an event does for one user, where that differs from `room_notifications`.
CREATE TABLE user_notifications (
  user_id TEXT NOT NULL,
  room_nid BIGINT NOT NULL,
  position BIGINT NOT NULL,
  thread_id TEXT NOT NULL,
  notify BOOLEAN NOT NULL,
  highlight BOOLEAN NOT NULL,
  actions TEXT NOT NULL,
  -- What `room_notifications` says of the event, to be taken back when counting.
  room_notify BOOLEAN NOT NULL,
  room_highlight BOOLEAN NOT NULL,
  PRIMARY KEY (user_id, room_nid, position)
);
CREATE INDEX user_notifications_event ON user_notifications (room_nid, position);
CREATE INDEX user_notifications_user ON user_notifications (user_id, position);
-- What pushers follow.
CREATE INDEX room_notifications_position ON room_notifications (position);
CREATE INDEX user_notifications_position ON user_notifications (position);

-- The names in lower case that local members go by in rooms, where they differ from the users' ids: whom a text mentions.
CREATE TABLE member_names (
  room_nid BIGINT NOT NULL,
  user_id TEXT NOT NULL,
  name TEXT NOT NULL,
  PRIMARY KEY (room_nid, user_id)
) /*sqlite: WITHOUT ROWID */;

-- Who ignores whom is read when the server starts.
CREATE INDEX account_data_ignores ON account_data (user_id) WHERE type = 'm.ignored_user_list';
