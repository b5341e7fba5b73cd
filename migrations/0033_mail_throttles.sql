-- How often mails about a room go to an e-mail pusher.
CREATE TABLE mail_throttles (
  user_id TEXT NOT NULL,
  app_id TEXT NOT NULL,
  pushkey TEXT NOT NULL,
  room_nid BIGINT NOT NULL,
  last_sent_ts BIGINT NOT NULL,
  -- The next mail about the room goes out no earlier than so many milliseconds after the last.
  throttle_ms BIGINT NOT NULL,
  PRIMARY KEY (user_id, app_id, pushkey, room_nid)
);
