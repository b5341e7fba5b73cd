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

-- Users who can be found: of this server by their profile, others as their member events show them.
CREATE TABLE user_directory (
  user_id TEXT NOT NULL PRIMARY KEY,
  display_name TEXT,
  avatar_url TEXT
);

-- Words of the name and the user id, under which users are found by how they begin.
CREATE TABLE user_directory_words (
  word TEXT NOT NULL,
  user_id TEXT NOT NULL,
  PRIMARY KEY (word, user_id)
) /*sqlite: WITHOUT ROWID */;
CREATE INDEX user_directory_words_user ON user_directory_words (user_id);

-- Rooms that anybody may join or read: their members can be found by everybody.
CREATE TABLE open_rooms (
  room_nid BIGINT NOT NULL PRIMARY KEY
);
