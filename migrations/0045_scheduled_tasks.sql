-- Long work that administrators began: it goes on after a restart, and how it ended can be asked for for a while.
CREATE TABLE scheduled_tasks (
  task_id TEXT NOT NULL PRIMARY KEY,
  action TEXT NOT NULL,
  -- scheduled, active, complete, failed
  status TEXT NOT NULL,
  -- Milliseconds: when it is due, or when its status last changed.
  changed_ts BIGINT NOT NULL,
  -- What it works on: a room, a user.
  resource_id TEXT,
  -- JSON objects: what to do, how far it has come, and what administrators see of that.
  params TEXT NOT NULL,
  progress TEXT,
  result TEXT,
  error TEXT
);
CREATE INDEX scheduled_tasks_status ON scheduled_tasks (status, changed_ts);
CREATE INDEX scheduled_tasks_resource ON scheduled_tasks (resource_id);
-- A room is deleted once at a time.
CREATE UNIQUE INDEX scheduled_tasks_room_deletion ON scheduled_tasks (resource_id)
  WHERE action = 'shutdown_and_purge_room' AND status IN ('scheduled', 'active');

-- Rooms that nobody here may come into. They need not be known, and stay blocked when they are deleted.
CREATE TABLE blocked_rooms (
  room_id TEXT NOT NULL PRIMARY KEY,
  blocked_by TEXT NOT NULL
);
