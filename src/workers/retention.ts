/** Deletes messages that are older than the policies of their rooms allow: the jobs of `retention.purge_jobs`. */
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { RoomId } from "../protocol/ids.ts";
import type { HistoryPurge } from "../rooms/history_purge.ts";
import type { RetentionPolicies } from "../rooms/retention_policies.ts";
import type { Database } from "../storage/database.ts";
import { selectRoomsAfter } from "../storage/history_purge.ts";

/** One of `retention.purge_jobs`: for rooms whose policy is longer than the one and no longer than the other. */
export interface PurgeJob {
  readonly shortestMaxLifetime: number | null;
  readonly longestMaxLifetime: number | null;
}

/** What the worker is built from. */
export interface RetentionDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly policies: RetentionPolicies;
  readonly purge: (purge: HistoryPurge, signal: AbortSignal) => Promise<number>;
}

const PAGE = 500;
/** Clocks of other servers may be that much ahead. What claims to be from later goes by when it came. */
const CLOCK_SKEW_MS = 86_400_000;

/** Does one job: looks at all rooms and deletes what is too old. */
export async function runPurgeJob(
  deps: RetentionDeps,
  { job, signal }: { job: PurgeJob; signal: AbortSignal },
): Promise<void> {
  const { db, policies } = deps;
  for (let after = 0; !signal.aborted;) {
    const rooms = await selectRoomsAfter(db, { after, limit: PAGE });
    for (const { roomNid, roomId } of rooms) {
      const lifetime = policies.maxLifetime(roomNid);
      if (lifetime !== null && isWithin(lifetime, job)) await purgeRoom(deps, { roomId, roomNid, signal });
      after = roomNid;
    }
    if (rooms.length < PAGE) return;
  }
}

function isWithin(lifetime: number, { shortestMaxLifetime, longestMaxLifetime }: PurgeJob): boolean {
  return lifetime > (shortestMaxLifetime ?? -1) && lifetime <= (longestMaxLifetime ?? Infinity);
}

async function purgeRoom(
  { clock, log, policies, purge }: RetentionDeps,
  { roomId, roomNid, signal }: { roomId: RoomId; roomNid: number; signal: AbortSignal },
): Promise<void> {
  const age = policies.purgeAge(roomNid);
  if (age === null) return;
  const now = clock.now();
  const before = now - age;
  const which = [{ saidBefore: before }, { receivedBefore: before, saidAfter: now + CLOCK_SKEW_MS }];
  let count = 0;
  for (const old of which) count += await purge({ roomId, which: old }, signal);
  if (count > 0) log.info("Deleted old messages", { room: roomId, count });
}
