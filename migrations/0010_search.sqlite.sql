-- Full-text search. `position` is the event's in the events stream, so that the newest matches are found first.

CREATE TABLE consumer_cursors (
  consumer TEXT NOT NULL PRIMARY KEY,
  -- Everything up to this position of its stream is done.
  position BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE search_documents (
  position BIGINT NOT NULL PRIMARY KEY,
  event_nid BIGINT NOT NULL,
  room_nid BIGINT NOT NULL,
  sender TEXT NOT NULL,
  -- Which part of the content was indexed: content.body, content.name or content.topic.
  field TEXT NOT NULL
);

-- The text is cut into words by the server, so the tokenizer has only to split at spaces.
CREATE VIRTUAL TABLE search_index USING fts5(
  room, words, content = '', contentless_delete = 1, tokenize = 'ascii'
);
