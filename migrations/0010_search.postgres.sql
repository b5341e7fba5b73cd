-- Full-text search. `position` is the event's in the events stream, so that the newest matches are found first.

CREATE TABLE consumer_cursors (
  consumer TEXT NOT NULL PRIMARY KEY,
  -- Everything up to this position of its stream is done.
  position BIGINT NOT NULL
);

CREATE TABLE search_documents (
  position BIGINT NOT NULL PRIMARY KEY,
  event_nid BIGINT NOT NULL,
  room_nid BIGINT NOT NULL,
  sender TEXT NOT NULL,
  -- Which part of the content was indexed: content.body, content.name or content.topic.
  field TEXT NOT NULL,
  -- The words of the text, as the server cut it.
  words TSVECTOR NOT NULL
);
CREATE INDEX search_documents_words ON search_documents USING GIN (words);
