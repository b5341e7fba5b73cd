/** Puts together the parts that read rooms: they share caches, so there is one of each in a server. */
import type { Clock } from "../lib/clock.ts";
import type { UserId } from "../protocol/ids.ts";
import type { Database, Tx } from "../storage/database.ts";
import type { Notifier } from "../streams/notifier.ts";
import { EventContext } from "./context.ts";
import type { EventStore } from "./event_store.ts";
import { JoinPositions } from "./join_positions.ts";
import { MemberLoader, SentMembers } from "./lazy_members.ts";
import { LocalMemberships } from "./local_memberships.ts";
import { MembershipMoves } from "./membership_moves.ts";
import { type Bundler, Pagination } from "./pagination.ts";
import type { PersistedBatch, PersistHandler } from "./pending.ts";
import { EventRenderer } from "./renderer.ts";
import { RoomReaders } from "./room_access.ts";
import { RoomState } from "./room_state.ts";
import { RoomTimelines } from "./room_timelines.ts";
import type { StateReader } from "./state_reader.ts";
import { TimestampSearch } from "./timestamp.ts";
import { TransactionIds } from "./transaction_ids.ts";
import { Visibility } from "./visibility.ts";

/** What reading is built from. */
export interface RoomReadsDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly events: EventStore;
  readonly state: StateReader;
  /** Must stand where the database stands. */
  readonly notifier: Notifier;
  readonly ignoredUsers: (userId: UserId) => Promise<ReadonlySet<string>>;
  /** Bundles aggregations with events, where the server does that. */
  readonly bundle?: Bundler;
}

/** The parts. */
export interface RoomReads {
  readonly transactions: TransactionIds;
  readonly renderer: EventRenderer;
  readonly visibility: Visibility;
  readonly timelines: RoomTimelines;
  readonly memberships: LocalMemberships;
  readonly readers: RoomReaders;
  readonly members: MemberLoader;
  readonly sentMembers: SentMembers;
  readonly joinPositions: JoinPositions;
  readonly moves: MembershipMoves;
  readonly pagination: Pagination;
  readonly context: EventContext;
  readonly roomState: RoomState;
  readonly timestamps: TimestampSearch;
  /** To be listed among the engine's handlers: keeps what is in memory up to date. */
  readonly onPersist: PersistHandler;
}

/** Builds the parts. */
export function buildRoomReads(deps: RoomReadsDeps): RoomReads {
  const { db, clock, events, state, notifier, ignoredUsers } = deps;
  const bundle = deps.bundle === undefined ? {} : { bundle: deps.bundle };
  const transactions = new TransactionIds({ db });
  const renderer = new EventRenderer({ events, state, transactions, clock });
  const visibility = new Visibility({ state, events });
  const timelines = new RoomTimelines({ db, position: notifier.position("events") });
  const memberships = new LocalMemberships({ db, onRoom: (nid, last) => timelines.noteRoom(nid, last) });
  const readers = new RoomReaders({ events, state, visibility, memberships, ignoredUsers });
  const members = new MemberLoader({ state });
  const streamPosition = () => notifier.position("events");
  const pagination = new Pagination({
    db,
    events,
    visibility,
    readers,
    renderer,
    members,
    streamPosition,
    ...bundle,
  });
  return {
    transactions,
    renderer,
    visibility,
    timelines,
    memberships,
    readers,
    members,
    sentMembers: new SentMembers(),
    joinPositions: new JoinPositions({ events, state }),
    moves: new MembershipMoves({ memberships, timelines, events, state }),
    pagination,
    context: new EventContext({ events, state, visibility, readers, renderer, members, pagination, ...bundle }),
    roomState: new RoomState({ db, events, state, renderer }),
    timestamps: new TimestampSearch({ db, events, visibility }),
    onPersist: async (tx, batch) => {
      await timelines.onPersist(tx, batch);
      await memberships.onPersist(tx, batch);
      noteTransactions(transactions, { tx, batch });
    },
  };
}

function noteTransactions(transactions: TransactionIds, { tx, batch }: { tx: Tx; batch: PersistedBatch }): void {
  tx.afterCommit(() => {
    for (const { stored, transaction } of batch.events) transactions.note(stored.nid, transaction);
  });
}
