/** Rooms, streams, followers, sync, caches. */
import { namedCaches } from "../../lib/lru.ts";
import type { Metrics } from "../../lib/metrics.ts";
import { NUMBER_RANGES, Spread } from "../../lib/tally.ts";
import { countRoomsByEnds } from "../../storage/rooms.ts";
import { STREAMS } from "../../streams/notifier.ts";
import type { Parts } from "../parts.ts";
import { remembered } from "./remembered.ts";
import { addTally } from "./tallies.ts";

/** All rooms are looked at. */
const ENDS_LIFETIME_MS = 600_000;

/** Adds the metrics. */
export function addRoomMetrics(metrics: Metrics, parts: Parts): void {
  addStreams(metrics, parts);
  addState(metrics, parts);
  addSync(metrics, parts);
  addCaches(metrics);
  const { engine } = parts.rooms;
  metrics.gauge(
    { name: "synapse_ts_room_queue_waiting", help: "Changes of rooms that wait for their turn" },
    () => engine.waiting,
  );
  const { tasks, backgroundUpdates } = parts.administration;
  metrics.gauge(
    { name: "synapse_scheduler_running_tasks", help: "Long work that was asked for and is being done" },
    () => tasks.running,
  );
  metrics.gauge(
    {
      name: "synapse_background_update_status",
      help: "Long work on the database: 0 held up, 2 being done, 3 none to do",
      labels: ["database_name"],
    },
    () => [[{ database_name: "master" }, !backgroundUpdates.isEnabled ? 0 : backgroundUpdates.isRunning ? 2 : 3]],
  );
}

function addStreams(metrics: Metrics, { core: { notifier }, push, social }: Parts): void {
  metrics.gauge(
    { name: "synapse_event_persisted_position", help: "Position of the last event" },
    () => notifier.position("events"),
  );
  metrics.gauge(
    { name: "synapse_storage_stream_current_position", help: "Positions of the streams", labels: ["stream_name"] },
    () => STREAMS.map((stream) => [{ stream_name: stream }, notifier.position(stream)]),
  );
  metrics.gauge(
    {
      name: "synapse_event_processing_positions",
      help: "Events up to here were looked at by what follows them",
      labels: ["name"],
    },
    () => [
      [{ name: "pusher_pool" }, push.position()],
      [{ name: "search" }, social.searchPosition()],
      [{ name: "user_dir" }, social.directoryIndexer.position],
    ],
  );
  metrics.gauge({ name: "synapse_notifier_listeners", help: "Requests that wait for news" }, () => notifier.waiting);
  metrics.gauge({ name: "synapse_notifier_users", help: "Users whose requests wait for news" }, () => notifier.users);
  addTally(metrics, {
    name: "synapse_notifier_users_woken_by_stream_total",
    help: "Users whose waiting requests went on, by what was new",
    tally: notifier.woken,
  });
}

function addState(metrics: Metrics, { core: { db, clock }, rooms: { engine } }: Parts): void {
  const figures = engine.resolutionFigures;
  metrics.spread(
    { name: "synapse_state_number_state_groups_in_resolution", help: "How many states were resolved together" },
    () => figures.states,
  );
  metrics.counted(
    {
      name: "synapse_storage_events_state_resolutions_during_persistence_total",
      help: "States that were resolved for events to be written",
    },
    () => figures.states.count,
  );
  metrics.spread(
    { name: "synapse_ts_state_resolution_time_seconds", help: "How long resolving states took, reading included" },
    () => figures.seconds,
  );
  const ends = remembered(clock, { forMs: ENDS_LIFETIME_MS, read: () => countRoomsByEnds(db) });
  metrics.gaugeSpread(
    { name: "synapse_forward_extremities", help: "Rooms by the number of ends of their graph" },
    async () => {
      const spread = new Spread(NUMBER_RANGES);
      for (const { ends: count, rooms } of await ends()) spread.observe(count, rooms);
      return spread;
    },
  );
}

function addSync(metrics: Metrics, { sync: { sync, slidingSync } }: Parts): void {
  addTally(metrics, {
    name: "synapse_handlers_sync_nonempty_total",
    help: "Answers to /sync that held something",
    tally: sync.nonempty,
  });
  metrics.spread(
    {
      name: "synapse_sliding_sync_processing_time",
      help: "Seconds that making answers of sliding sync took",
      labels: ["initial"],
    },
    () => [
      [{ initial: "True" }, slidingSync.times.initial],
      [{ initial: "False" }, slidingSync.times.incremental],
    ],
  );
}

function addCaches(metrics: Metrics): void {
  const gauge = (name: string, { help, read }: { help: string; read: (cache: Cache) => number }) =>
    metrics.gauge(
      { name: `synapse_util_caches_cache${name}`, help, labels: ["name"] },
      () => namedCaches().map((cache) => [{ name: cache.name }, read(cache)]),
    );
  gauge("", { help: "Look-ups", read: ({ hits, misses }) => hits + misses });
  gauge("_hits", { help: "Look-ups that found something", read: ({ hits }) => hits });
  gauge("_size", { help: "What is in it: entries, or bytes", read: ({ size }) => size });
  gauge("_max_size", { help: "What fits in it", read: ({ maxSize }) => maxSize });
  metrics.gauge(
    {
      name: "synapse_util_caches_cache_evicted_size",
      help: "What was dropped for want of room, and what no longer held",
      labels: ["name", "reason"],
    },
    () =>
      namedCaches().flatMap(({ name, evicted, invalidated }) => [
        [{ name, reason: "size" }, evicted] as const,
        [{ name, reason: "invalidation" }, invalidated] as const,
      ]),
  );
}

type Cache = ReturnType<typeof namedCaches>[number];
