-- End-to-end encryption: device keys, one-time keys, cross-signing, to-device messages, key backup.

CREATE TABLE device_keys (
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  -- The signed device key object as uploaded.
  key_json TEXT NOT NULL,
  PRIMARY KEY (user_id, device_id)
);

CREATE TABLE one_time_keys (
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  algorithm TEXT NOT NULL,
  key_id TEXT NOT NULL,
  key_json TEXT NOT NULL,
  -- Claimed oldest first.
  added_ts BIGINT NOT NULL,
  PRIMARY KEY (user_id, device_id, algorithm, key_id)
);

CREATE TABLE fallback_keys (
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  algorithm TEXT NOT NULL,
  key_id TEXT NOT NULL,
  key_json TEXT NOT NULL,
  used BOOLEAN NOT NULL,
  PRIMARY KEY (user_id, device_id, algorithm)
);

CREATE TABLE cross_signing_keys (
  user_id TEXT NOT NULL,
  -- master, self_signing or user_signing.
  usage TEXT NOT NULL,
  key_json TEXT NOT NULL,
  PRIMARY KEY (user_id, usage)
);

-- Signatures added to keys after their upload.
CREATE TABLE key_signatures (
  target_user_id TEXT NOT NULL,
  -- A device id, or the public key of a cross-signing key.
  target_key TEXT NOT NULL,
  signer_user_id TEXT NOT NULL,
  signer_key_id TEXT NOT NULL,
  signature TEXT NOT NULL,
  PRIMARY KEY (target_user_id, target_key, signer_user_id, signer_key_id)
);

-- Whose devices or cross-signing keys changed, and when.
CREATE TABLE device_list_changes (
  position BIGINT NOT NULL PRIMARY KEY,
  user_id TEXT NOT NULL
);
CREATE INDEX device_list_changes_user ON device_list_changes (user_id, position);

-- Whose keys a user has signed: only that user sees these signatures. Positions are of the device lists stream.
CREATE TABLE key_signature_changes (
  signer_user_id TEXT NOT NULL,
  target_user_id TEXT NOT NULL,
  position BIGINT NOT NULL,
  PRIMARY KEY (signer_user_id, target_user_id)
);
CREATE INDEX key_signature_changes_position ON key_signature_changes (signer_user_id, position);

CREATE TABLE to_device_messages (
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  position BIGINT NOT NULL,
  -- The event as /sync gives it.
  json TEXT NOT NULL,
  PRIMARY KEY (user_id, device_id, position)
);

-- Transaction ids of endpoints whose answer is empty.
CREATE TABLE to_device_transactions (
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  txn_id TEXT NOT NULL,
  created_ts BIGINT NOT NULL,
  PRIMARY KEY (user_id, device_id, txn_id)
);
CREATE INDEX to_device_transactions_created ON to_device_transactions (created_ts);

CREATE TABLE room_key_versions (
  user_id TEXT NOT NULL,
  version BIGINT NOT NULL,
  algorithm TEXT NOT NULL,
  auth_data TEXT NOT NULL,
  etag BIGINT NOT NULL,
  deleted BOOLEAN NOT NULL,
  PRIMARY KEY (user_id, version)
);

CREATE TABLE room_keys (
  user_id TEXT NOT NULL,
  version BIGINT NOT NULL,
  room_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  first_message_index BIGINT NOT NULL,
  forwarded_count BIGINT NOT NULL,
  is_verified BOOLEAN NOT NULL,
  session_data TEXT NOT NULL,
  PRIMARY KEY (user_id, version, room_id, session_id)
);
