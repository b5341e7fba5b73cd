-- What was quarantined and shown again, in order: moderation tools follow it. Positions come from id_blocks.
CREATE TABLE media_quarantine_changes (
  position BIGINT NOT NULL PRIMARY KEY,
  origin TEXT NOT NULL,
  media_id TEXT NOT NULL,
  is_quarantined BOOLEAN NOT NULL
);
INSERT INTO media_quarantine_changes (position, origin, media_id, is_quarantined)
  SELECT ROW_NUMBER() OVER (ORDER BY origin, media_id), origin, media_id, TRUE
  FROM media WHERE quarantined_by IS NOT NULL;
INSERT INTO id_blocks (sequence, next_id)
  SELECT 'media_quarantine_change', COUNT(*) + 1 FROM media WHERE quarantined_by IS NOT NULL;

-- Where an image of a URL preview was fetched from.
ALTER TABLE media ADD COLUMN source_url TEXT;
