-- An exclusive task is the only one of its action on its resource that is to be run or runs.
ALTER TABLE scheduled_tasks ADD COLUMN exclusive BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE scheduled_tasks SET exclusive = TRUE WHERE action = 'shutdown_and_purge_room';
DROP INDEX scheduled_tasks_room_deletion;
CREATE UNIQUE INDEX scheduled_tasks_exclusive ON scheduled_tasks (action, COALESCE(resource_id, ''))
  WHERE exclusive AND status IN ('scheduled', 'active');
