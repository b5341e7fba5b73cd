-- Kicks and bans that redact what their target has said (MSC4293), until all of it is redacted.
CREATE TABLE user_redactions (
  -- The member event, which takes the place of the redaction.
  redaction_nid BIGINT NOT NULL PRIMARY KEY,
  room_nid BIGINT NOT NULL,
  -- Position of the last event that is still to be looked at: the work goes back in time.
  up_to BIGINT NOT NULL
);
