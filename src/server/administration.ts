/** What administrators do to rooms, and the long work that comes of it. */
import { getLogger } from "../lib/log.ts";
import { BackgroundUpdates, recountRooms } from "../services/background_updates.ts";
import { BlockedRooms } from "../services/blocked_rooms.ts";
import { FederationAdmin } from "../services/federation_admin.ts";
import { HistoryPurges } from "../services/history_purges.ts";
import { MassRedactions } from "../services/mass_redactions.ts";
import { ReportAdmin } from "../services/report_admin.ts";
import { RoomAdmin } from "../services/room_admin.ts";
import { RoomShutdown } from "../services/room_shutdown.ts";
import { TaskScheduler } from "../services/task_scheduler.ts";
import type { DirectoryPlace } from "../workers/user_directory_indexer.ts";
import type { Core } from "./core.ts";
import type { FederationParts } from "./federation.ts";
import type { FederationExchangeParts } from "./federation_exchange.ts";
import type { RoomParts } from "./rooms.ts";
import type { SocialParts } from "./social.ts";
import type { UserParts } from "./users.ts";

/** The parts. */
export type AdministrationParts = ReturnType<typeof buildAdministration>;

/** What they are built on. */
export interface AdministrationBase {
  readonly rooms: RoomParts;
  readonly social: SocialParts;
  readonly users: UserParts;
  readonly federation: FederationParts;
  readonly exchange: FederationExchangeParts;
  /** Aborted when the server stops. */
  readonly stopping: AbortController;
}

/** How long the deletion of a room waits for other servers to hear that our users left. */
const SENDING_TIMEOUT_MS = 30_000;

/** Builds the parts. */
// deno-lint-ignore explicit-module-boundary-types -- the type is what is built
export function buildAdministration(
  core: Core,
  { rooms, social, users, federation, exchange, stopping }: AdministrationBase,
) {
  const { db, clock, isLocal, config: { serverName } } = core;
  const { events, facts, engine, memberships } = rooms;
  const tasks = new TaskScheduler({
    db,
    clock,
    stopping: stopping.signal,
    log: getLogger("synapse.util.task_scheduler"),
  });
  const log = getLogger("synapse.handlers.pagination");
  return {
    tasks,
    backgroundUpdates: new BackgroundUpdates({
      ...{ db, clock, tasks },
      jobs: {
        populate_stats_process_rooms: (after) => recountRooms(db, after),
        regenerate_directory: async (after) => {
          const { next, count } = await social.directoryIndexer.regenerate(after as unknown as DirectoryPlace | null);
          return { next: next === null ? null : { ...next }, count };
        },
      },
    }),
    blockedRooms: new BlockedRooms({ db }),
    federationAdmin: new FederationAdmin({ db, backoff: federation.backoff }),
    massRedactions: new MassRedactions({
      ...{ db, tasks, engine, events, isLocal },
      log: getLogger("synapse.handlers.admin"),
    }),
    historyPurges: new HistoryPurges({ db, log, tasks, events, serverName, purgeHistory: users.purgeHistory }),
    reportAdmin: new ReportAdmin({ db, events, facts }),
    roomAdmin: new RoomAdmin({ db, isLocal, events, facts, engine }),
    roomShutdown: new RoomShutdown({
      ...{ db, tasks, engine, events, isLocal },
      log: getLogger("synapse.handlers.room"),
      onForgotten: (userId) => memberships.drop(userId),
      onAliases: (roomId) => users.interest.forget(roomId),
      whenSent: (servers, signal) => exchange.sender.whenIdle(servers, { timeoutMs: SENDING_TIMEOUT_MS, signal }),
    }),
    /** Goes on with what a restart interrupted. */
    start(): void {
      tasks.start();
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await tasks[Symbol.asyncDispose]();
    },
  };
}
