-- Media: what was uploaded here, what was fetched from other servers, thumbnails, URL previews.

CREATE TABLE media (
  -- The server of the mxc:// URI.
  origin TEXT NOT NULL,
  media_id TEXT NOT NULL,
  -- Names the files in the blob store. Differs from media_id for remote media and for uploads in two steps, where every
  -- attempt writes its own file and the first to finish is the content.
  file_id TEXT NOT NULL,
  -- Null when nobody here uploaded it: remote media and images of URL previews.
  user_id TEXT,
  -- As the uploader claims.
  content_type TEXT NOT NULL,
  upload_name TEXT,
  created_ts BIGINT NOT NULL,
  -- Null as long as the upload is awaited, until unused_expires_ts.
  length BIGINT,
  unused_expires_ts BIGINT,
  -- In base64url.
  sha256 TEXT,
  last_access_ts BIGINT NOT NULL,
  -- Served on authenticated paths only.
  is_authenticated BOOLEAN NOT NULL,
  -- Fetched for a URL preview.
  is_url_cache BOOLEAN NOT NULL,
  quarantined_by TEXT,
  safe_from_quarantine BOOLEAN NOT NULL,
  PRIMARY KEY (origin, media_id)
);
CREATE INDEX media_user ON media (user_id, created_ts) WHERE user_id IS NOT NULL;
CREATE INDEX media_unused ON media (unused_expires_ts) WHERE length IS NULL;
CREATE INDEX media_last_access ON media (last_access_ts);
CREATE INDEX media_sha256 ON media (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX media_url_cache ON media (created_ts) WHERE is_url_cache;

CREATE TABLE media_thumbnails (
  origin TEXT NOT NULL,
  media_id TEXT NOT NULL,
  -- The box it was made for; the image may be smaller.
  width BIGINT NOT NULL,
  height BIGINT NOT NULL,
  -- "crop" or "scale".
  method TEXT NOT NULL,
  is_animated BOOLEAN NOT NULL,
  content_type TEXT NOT NULL,
  length BIGINT NOT NULL,
  -- The original serves as its own thumbnail; there is no file of it.
  is_original BOOLEAN NOT NULL,
  PRIMARY KEY (origin, media_id, width, height, method, is_animated)
);

CREATE TABLE url_previews (
  url TEXT NOT NULL,
  fetched_ts BIGINT NOT NULL,
  expires_ts BIGINT NOT NULL,
  -- The answer to clients, as JSON.
  preview TEXT NOT NULL,
  PRIMARY KEY (url, fetched_ts)
);
CREATE INDEX url_previews_expires ON url_previews (expires_ts);
