/** Long work that administrators began: what is to be done, how far it is, and how it ended. */
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import type { Db, Tx } from "./database.ts";
import { inList, type Sql, sql } from "./sql.ts";

/** The states of a task, as Synapse names them. */
export const TASK_STATUSES = ["scheduled", "active", "complete", "failed", "cancelled"] as const;
/** One of `TASK_STATUSES`. */
export type TaskStatus = typeof TASK_STATUSES[number];

/** A piece of long work. */
export interface ScheduledTask {
  readonly id: string;
  readonly action: string;
  readonly status: TaskStatus;
  /** When it is due, or when its status last changed, in milliseconds. */
  readonly changedTs: number;
  /** What it works on: a room, a user. */
  readonly resourceId: string | null;
  readonly params: JsonObject;
  /** How far it is, for whoever goes on with it. */
  readonly progress: JsonObject | null;
  /** What administrators see of it. */
  readonly result: JsonObject | null;
  readonly error: string | null;
}

/** A new task. */
export interface NewTask extends Pick<ScheduledTask, "id" | "action" | "changedTs" | "resourceId" | "params"> {
  /** There may be no other one of the action on the resource that has not ended. */
  readonly isExclusive: boolean;
}

/** Which tasks to list; what is null does not matter. */
export interface TaskFilter {
  readonly actions?: readonly string[] | null;
  readonly resourceId?: string | null;
  readonly statuses?: readonly TaskStatus[] | null;
  readonly maxTs?: number | null;
}

interface Row {
  task_id: string;
  action: string;
  status: TaskStatus;
  changed_ts: number;
  resource_id: string | null;
  params: string;
  progress: string | null;
  result: string | null;
  error: string | null;
}

const COLUMNS = sql`task_id, action, status, changed_ts, resource_id, params, progress, result, error`;

/** Adds a task that is to be run as soon as possible. Returns false where an exclusive one is not the only one. */
export async function insertScheduledTask(
  tx: Tx,
  { id, action, changedTs, resourceId, params, isExclusive }: NewTask,
): Promise<boolean> {
  const added = await tx.run(sql`
    INSERT INTO scheduled_tasks (task_id, action, status, changed_ts, resource_id, params, exclusive)
    VALUES (${id}, ${action}, 'scheduled', ${changedTs}, ${resourceId}, ${JSON.stringify(params)}, ${isExclusive})
    ON CONFLICT DO NOTHING`);
  return added > 0;
}

/** Returns a task, or null. */
export async function selectScheduledTask(db: Db, id: string): Promise<ScheduledTask | null> {
  const row = await db.get<Row>(sql`SELECT ${COLUMNS} FROM scheduled_tasks WHERE task_id = ${id}`);
  return row === null ? null : toTask(row);
}

/** Returns tasks, the oldest first. */
export async function selectScheduledTasks(
  db: Db,
  { filter, limit }: { filter: TaskFilter; limit: number },
): Promise<ScheduledTask[]> {
  const rows = await db.all<Row>(sql`
    SELECT ${COLUMNS} FROM scheduled_tasks WHERE ${conditions(filter)} ORDER BY changed_ts, task_id LIMIT ${limit}`);
  return rows.map(toTask);
}

/** Returns tasks to run, one of each action on a resource: those that were interrupted, then those that are due. */
export async function selectRunnableTasks(
  db: Db,
  { now, limit }: { now: number; limit: number },
): Promise<ScheduledTask[]> {
  const rows = await db.all<Row>(sql`
    SELECT ${COLUMNS} FROM scheduled_tasks t
    WHERE (status = 'active' OR (status = 'scheduled' AND changed_ts <= ${now})) AND NOT EXISTS (
      SELECT 1 FROM scheduled_tasks other
      WHERE other.action = t.action AND COALESCE(other.resource_id, '') = COALESCE(t.resource_id, '')
        AND other.status IN ('active', 'scheduled')
        AND (other.status, other.changed_ts, other.task_id) < (t.status, t.changed_ts, t.task_id))
    ORDER BY status, changed_ts, task_id LIMIT ${limit}`);
  return rows.map(toTask);
}

/** Notes how a task stands; what is not given stays. */
export async function updateScheduledTask(
  tx: Tx,
  { id, status, now, error = null }: { id: string; status: TaskStatus; now: number; error?: string | null },
): Promise<void> {
  await tx.run(sql`
    UPDATE scheduled_tasks SET status = ${status}, changed_ts = ${now}, error = ${error} WHERE task_id = ${id}`);
}

/** Notes how far a task is, and what administrators see of it. */
export async function updateTaskProgress(
  tx: Tx,
  { id, now, progress, result }: { id: string; now: number; progress: JsonObject | null; result: JsonObject | null },
): Promise<void> {
  await tx.run(sql`
    UPDATE scheduled_tasks
    SET changed_ts = ${now}, progress = ${textOf(progress)}, result = ${textOf(result)} WHERE task_id = ${id}`);
}

/** Forgets tasks that ended before a time. */
export async function deleteEndedTasks(tx: Tx, before: number): Promise<void> {
  await tx.run(sql`
    DELETE FROM scheduled_tasks
    WHERE status IN ('complete', 'failed', 'cancelled') AND changed_ts < ${before}`);
}

function conditions({ actions = null, resourceId = null, statuses = null, maxTs = null }: TaskFilter): Sql {
  return sql`1 = 1${actions === null ? sql`` : sql` AND ${inList(sql`action`, actions)}`}${
    statuses === null ? sql`` : sql` AND ${inList(sql`status`, statuses)}`
  }${resourceId === null ? sql`` : sql` AND resource_id = ${resourceId}`}${
    maxTs === null ? sql`` : sql` AND changed_ts <= ${maxTs}`
  }`;
}

function textOf(value: JsonObject | null): string | null {
  return value === null ? null : JSON.stringify(value);
}

function objectOf(text: string | null): JsonObject | null {
  const value = text === null ? null : JSON.parse(text);
  return isJsonObject(value) ? value : null;
}

function toTask(row: Row): ScheduledTask {
  return {
    id: row.task_id,
    action: row.action,
    status: row.status,
    changedTs: row.changed_ts,
    resourceId: row.resource_id,
    params: objectOf(row.params) ?? {},
    progress: objectOf(row.progress),
    result: objectOf(row.result),
    error: row.error,
  };
}
