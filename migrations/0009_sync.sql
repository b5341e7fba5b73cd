-- Filters that clients have stored.

CREATE TABLE filters (
  user_id TEXT NOT NULL,
  -- Counts from 0 for each user.
  filter_id BIGINT NOT NULL,
  -- SHA-256 of the JSON, so that the same filter stored twice is one.
  hash TEXT NOT NULL,
  json TEXT NOT NULL,
  PRIMARY KEY (user_id, filter_id),
  UNIQUE (user_id, hash)
);
