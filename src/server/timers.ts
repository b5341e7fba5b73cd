/** What happens from time to time while the server runs. */
import { getLogger } from "../lib/log.ts";
import { deleteToDeviceTransactionsBefore } from "../storage/to_device.ts";
import { deleteReceivedBefore } from "../storage/received_transactions.ts";
import { freePages } from "../storage/free_pages.ts";
import { RedactionPruner } from "../workers/redaction_pruner.ts";
import { runPurgeJob } from "../workers/retention.ts";
import { deleteStaleDevices } from "../workers/stale_devices.ts";
import type { Parts } from "./parts.ts";
import { expireSlidingConnections } from "./sliding_sync.ts";

/** Something to do about every `everyMs` milliseconds. */
interface Chore {
  readonly name: string;
  readonly everyMs: number;
  readonly run: () => Promise<void>;
}

const log = getLogger("synapse.app");
/** Transaction ids of to-device messages are remembered this long. */
const TRANSACTION_LIFETIME_MS = 86_400_000;
/** Other servers try again for longer. */
const RECEIVED_LIFETIME_MS = 30 * 86_400_000;

/** What notified somebody is listed and counted as unread this long; Synapse forgets most of it after a day. */
const NOTIFICATION_LIFETIME_MS = 180 * 86_400_000;

/** Starts all chores; one that fails is logged and tried again when it is due. */
export function startTimers(parts: Parts): { stop(): Promise<void> } {
  const stopping = new AbortController();
  const running = chores(parts).map((chore) => repeat(chore, { parts, signal: stopping.signal }));
  return {
    async stop() {
      stopping.abort();
      await Promise.all(running);
      // What was noted since the last time is not lost.
      await parts.accounts.lastSeen.flush();
    },
  };
}

function chores(parts: Parts): Chore[] {
  const { core, accounts, media, exchange, push } = parts;
  const { config, db, clock } = core;
  return [
    ...pruningChores(parts),
    ...retentionChores(parts),
    // A write finds out whether the database is still this process's own.
    ...(db.dialect === "postgres"
      ? [{ name: "database_claim", everyMs: 10_000, run: () => db.transaction(() => Promise.resolve()) }]
      : []),
    { name: "last_seen", everyMs: 5_000, run: () => accounts.lastSeen.flush() },
    {
      name: "user_ips",
      everyMs: 60_000,
      run: async () => {
        const { userIpsMaxAge } = config.blocking;
        if (userIpsMaxAge !== null) await accounts.lastSeen.prune(userIpsMaxAge);
      },
    },
    { name: "account_validity", everyMs: 1_800_000, run: async () => await accounts.validity?.remind() },
    { name: "email_validations", everyMs: 1_800_000, run: () => accounts.validations.expire() },
    { name: "phone_validations", everyMs: 1_800_000, run: () => accounts.phones.expire() },
    { name: "monthly_active_users", everyMs: 3_600_000, run: () => accounts.activeUsers.reap() },
    { name: "uia_sessions", everyMs: 300_000, run: () => accounts.uia.expireSessions() },
    { name: "sliding_sync_connections", everyMs: 3_600_000, run: () => expireSlidingConnections(core) },
    {
      name: "notifications",
      everyMs: 3_600_000,
      run: () => push.prune(clock.now() - NOTIFICATION_LIFETIME_MS),
    },
    { name: "media", everyMs: 60_000, run: () => media.tick() },
    {
      name: "federation",
      everyMs: 3_600_000,
      run: async () => {
        const before = clock.now() - RECEIVED_LIFETIME_MS;
        await db.transaction((tx) => deleteReceivedBefore(tx, before));
        await exchange.sender.prune();
      },
    },
    {
      name: "to_device_transactions",
      everyMs: 1_800_000,
      run: async () => {
        const before = clock.now() - TRANSACTION_LIFETIME_MS;
        await db.transaction((tx) => deleteToDeviceTransactionsBefore(tx, before));
      },
    },
  ];
}

/** What is deleted by rules of the operator, and giving the room back to the disk. */
function pruningChores({ administration, core, accounts, rooms, stopping }: Parts): Chore[] {
  const { config, db, clock } = core;
  const { redactionRetentionPeriod: redactionAge } = config.blocking;
  const { deleteStaleDevicesAfter: deviceAge } = config.server;
  const pruner = new RedactionPruner({ db, clock, events: rooms.events });
  const { signal } = stopping;
  return [
    ...(redactionAge === null
      ? []
      : [{ name: "redactions", everyMs: 300_000, run: () => pruner.prune(redactionAge, signal) }]),
    ...(deviceAge === null ? [] : [{
      name: "stale_devices",
      everyMs: 3_600_000,
      run: () => deleteStaleDevices({ db, clock, devices: accounts.devices }, { maxAgeMs: deviceAge, signal }),
    }]),
    { name: "scheduled_tasks", everyMs: 1_800_000, run: () => administration.tasks.prune() },
    { name: "forgotten_rooms", everyMs: 600_000, run: () => rooms.engine.purgeForgotten(signal) },
    { name: "free_pages", everyMs: 60_000, run: async () => void await freePages(db, signal) },
  ];
}

/** The jobs of `retention`. */
function retentionChores({ core, rooms, users, stopping: { signal } }: Parts): Chore[] {
  const { config, db, clock } = core;
  const { enabled, purgeJobs } = config.blocking.retention;
  if (!enabled) return [];
  const deps = {
    ...{ db, clock, policies: rooms.retention, purge: users.purgeHistory },
    log: getLogger("synapse.handlers.pagination"),
  };
  return purgeJobs.map(({ interval, ...job }) => ({
    name: "retention",
    everyMs: interval,
    run: () => runPurgeJob(deps, { job, signal }),
  }));
}

async function repeat(
  { name, everyMs, run }: Chore,
  { parts, signal }: { parts: Parts; signal: AbortSignal },
): Promise<void> {
  while (true) {
    await parts.core.clock.sleep(everyMs, signal);
    if (signal.aborted) return;
    try {
      await parts.core.meters.background(name, run);
    } catch (error) {
      log.error("Background work failed and will be tried again", { work: name, error });
    }
  }
}
