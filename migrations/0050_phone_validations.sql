-- Sessions in which the identity server of `account_threepid_delegates.msisdn` proves that a phone number is somebody's,
-- and what for; each proves nothing beyond that, and once.
CREATE TABLE phone_validations (
  session_id TEXT NOT NULL,
  -- "register", "add" or "reset".
  purpose TEXT NOT NULL,
  expires_ts BIGINT NOT NULL,
  PRIMARY KEY (session_id, purpose)
);
CREATE INDEX phone_validations_expires ON phone_validations (expires_ts);
