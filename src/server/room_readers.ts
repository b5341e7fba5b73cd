/** What reads rooms, on a database that a running server may have open too: for commands. */
import type { Clock } from "../lib/clock.ts";
import type { UserId } from "../protocol/ids.ts";
import { EventStore } from "../rooms/event_store.ts";
import { LocalMemberships } from "../rooms/local_memberships.ts";
import { EventRenderer } from "../rooms/renderer.ts";
import { RoomReaders } from "../rooms/room_access.ts";
import { StateReader } from "../rooms/state_reader.ts";
import { TransactionIds } from "../rooms/transaction_ids.ts";
import { Visibility } from "../rooms/visibility.ts";
import { ErasedUsers } from "../services/erased_users.ts";
import type { UserExportDeps } from "../services/user_export.ts";
import type { Database } from "../storage/database.ts";
import { IdAllocator } from "../storage/id_blocks.ts";
import { StateKeys } from "../storage/interning.ts";
import { selectRoomById } from "../storage/rooms.ts";
import { StateTrees } from "../storage/state_nodes.ts";

/** Builds the parts that read rooms; nobody's messages count as ignored. */
export async function buildRoomReading(db: Database, clock: Clock): Promise<UserExportDeps> {
  const events = new EventStore({ db });
  const erased = await ErasedUsers.load(db);
  const state = new StateReader({
    events,
    tree: new StateTrees({ db, ids: new IdAllocator({ db, sequence: "state_node" }) }),
    keys: new StateKeys({ db, ids: new IdAllocator({ db, sequence: "state_key" }) }),
    currentRoot: async (roomId) => (await selectRoomById(db, roomId))?.stateRoot ?? null,
  });
  const visibility = new Visibility({ state, events, isErased: (userId: UserId) => erased.has(userId) });
  const memberships = new LocalMemberships({ db, onRoom: () => {} });
  const readers = new RoomReaders({
    ...{ events, state, visibility, memberships },
    ignoredUsers: () => new Set<string>(),
  });
  const renderer = new EventRenderer({ events, state, clock, transactions: new TransactionIds({ db }) });
  return { db, events, memberships, readers, renderer, state, visibility };
}
