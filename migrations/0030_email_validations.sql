-- Proofs that an e-mail address is somebody's, and where addresses are published.

CREATE TABLE email_validations (
  session_id TEXT NOT NULL PRIMARY KEY,
  -- What it is for, which it proves nothing beyond: "register", "add" or "reset".
  purpose TEXT NOT NULL,
  address TEXT NOT NULL,
  client_secret TEXT NOT NULL,
  -- The client counts its attempts; a mail goes out for each new one.
  send_attempt BIGINT NOT NULL,
  -- The token of the last mail's link, as SHA-256 in base64url.
  token_hash TEXT NOT NULL,
  next_link TEXT,
  token_expires_ts BIGINT NOT NULL,
  -- When the link was opened; null until then.
  validated_ts BIGINT,
  expires_ts BIGINT NOT NULL
);
CREATE UNIQUE INDEX email_validations_request ON email_validations (purpose, address, client_secret);
CREATE INDEX email_validations_expires ON email_validations (expires_ts);

-- Identity servers that a user had an address published at through this server.
CREATE TABLE threepid_bindings (
  user_id TEXT NOT NULL,
  medium TEXT NOT NULL,
  address TEXT NOT NULL,
  id_server TEXT NOT NULL,
  PRIMARY KEY (user_id, medium, address, id_server)
);
