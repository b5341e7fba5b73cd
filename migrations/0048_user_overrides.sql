-- What administrators decide for single users.

-- Limits of their own on sending; 0 for none, which lifts all other limits too.
CREATE TABLE rate_limit_overrides (
  user_id TEXT NOT NULL PRIMARY KEY,
  messages_per_second BIGINT NOT NULL,
  burst_count BIGINT NOT NULL
);

-- Proposals that are switched on for a user.
CREATE TABLE user_features (
  user_id TEXT NOT NULL,
  feature TEXT NOT NULL,
  PRIMARY KEY (user_id, feature)
) /*sqlite: WITHOUT ROWID */;

-- Whether a pusher pushes (MSC3881).
ALTER TABLE pushers ADD COLUMN is_enabled BOOLEAN NOT NULL DEFAULT TRUE;
