-- When each field of a local user's profile last changed, for the profile extension of sliding sync (MSC4262). A field
-- that was removed keeps its row, so that clients learn of it; `position` is one of the account_data stream.
CREATE TABLE profile_changes (
  user_id TEXT NOT NULL,
  field TEXT NOT NULL,
  position BIGINT NOT NULL,
  PRIMARY KEY (user_id, field)
) /*sqlite: WITHOUT ROWID */;
CREATE INDEX profile_changes_position ON profile_changes (position);

-- With which fields a connection has the profiles of a room: a number made of their names, -1 for all, -2 for none.
ALTER TABLE sliding_rooms ADD COLUMN profiles BIGINT NOT NULL DEFAULT -2;
