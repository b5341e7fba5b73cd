-- Who uses the server, who must wait before they may, and for how long they may.

-- Who was active within the last thirty days, as far as that is limited or counted.
CREATE TABLE monthly_active_users (
  user_id TEXT NOT NULL PRIMARY KEY,
  last_active_ts BIGINT NOT NULL
);
CREATE INDEX monthly_active_users_last_active ON monthly_active_users (last_active_ts);

-- Accounts that an administrator has not approved yet (MSC3866).
CREATE TABLE unapproved_users (
  user_id TEXT NOT NULL PRIMARY KEY
);

CREATE TABLE account_validity (
  user_id TEXT NOT NULL PRIMARY KEY,
  expires_ts BIGINT NOT NULL,
  -- Whether the mail about this expiry was sent.
  is_mail_sent BOOLEAN NOT NULL,
  -- The token of the mail's link, as SHA-256 in base64url.
  token_hash TEXT,
  -- When the token renewed the account.
  token_used_ts BIGINT
);
CREATE INDEX account_validity_expires ON account_validity (expires_ts);
CREATE UNIQUE INDEX account_validity_token ON account_validity (token_hash) WHERE token_hash IS NOT NULL;
