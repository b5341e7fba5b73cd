/** Sliding sync. */
import type { DecideInvite } from "../rooms/invite_rules.ts";
import type { Bundler } from "../rooms/pagination.ts";
import type { PersistHandler } from "../rooms/pending.ts";
import { deleteUnusedConnections } from "../storage/sliding_sync.ts";
import { BumpStamps } from "../sync/sliding/bump_stamps.ts";
import { CONNECTION_LIFETIME_MS, SlidingConnections } from "../sync/sliding/connections.ts";
import { ListMatcher } from "../sync/sliding/lists.ts";
import type { SlidingProviders } from "../sync/sliding/providers.ts";
import { RoomOrder } from "../sync/sliding/room_order.ts";
import { RoomTraitsReader } from "../sync/sliding/room_traits.ts";
import { SlidingSyncService } from "../sync/sliding/sliding_sync.ts";
import { UserFacts } from "../sync/sliding/user_facts.ts";
import type { SharedEnds } from "../sync/shared_ends.ts";
import type { Summaries } from "../sync/summaries.ts";
import type { TimelineGaps } from "../sync/timeline_gaps.ts";
import type { Core } from "./core.ts";
import type { RoomParts } from "./rooms.ts";

/** What sliding sync keeps of rooms, brought up to date by what is written. */
export interface SlidingCaches {
  readonly bumpStamps: BumpStamps;
  readonly traits: RoomTraitsReader;
  readonly onPersist: PersistHandler;
}

/** Builds what sliding sync keeps of rooms. */
export function buildSlidingCaches({ db }: Core): SlidingCaches {
  const bumpStamps = new BumpStamps({ db });
  const traits = new RoomTraitsReader({ db });
  return {
    bumpStamps,
    traits,
    onPersist: async (tx, batch) => {
      await bumpStamps.onPersist(tx, batch);
      await traits.onPersist(tx, batch);
    },
  };
}

/** Builds sliding sync. */
export function buildSlidingSync(
  { db, clock, notifier, config, meters: { measure } }: Core,
  { rooms, caches, providers, summaries, gaps, ends, bundle, decideInvite, stopping }: {
    rooms: RoomParts;
    caches: SlidingCaches;
    providers: SlidingProviders;
    summaries: Summaries;
    gaps: TimelineGaps;
    ends: SharedEnds;
    bundle: Bundler;
    decideInvite: DecideInvite;
    stopping: AbortSignal;
  },
): SlidingSyncService {
  const userFacts = new UserFacts({ db });
  const { bumpStamps, traits } = caches;
  const excludedRooms = new Set(config.rooms.excludeRoomsFromSync);
  return new SlidingSyncService({
    ...rooms,
    ...{ db, clock, notifier, providers, summaries, gaps, ends, bundle, decideInvite, stopping, userFacts, bumpStamps },
    measure,
    notifications: providers.notifications,
    connections: new SlidingConnections({ db, clock }),
    order: new RoomOrder({ timelines: rooms.timelines, readers: rooms.readers, excludedRooms }),
    matcher: new ListMatcher({ events: rooms.events, state: rooms.state, traits, userFacts }),
  });
}

const EXPIRED_AT_ONCE = 100;

/** Ends the connections that nobody used for a week. */
export async function expireSlidingConnections({ db, clock }: Core): Promise<void> {
  const before = clock.now() - CONNECTION_LIFETIME_MS;
  while (await db.transaction((tx) => deleteUnusedConnections(tx, { before, limit: EXPIRED_AT_ONCE })) > 0);
}
