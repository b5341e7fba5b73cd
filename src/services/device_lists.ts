/**
 * Who must refresh whose device keys. Spec: client-server API, "Tracking the device list for a user".
 *
 * `changed` is whose keys changed and who has come to share a room; `left` is who no longer shares one.
 */
import type { UserId } from "../protocol/ids.ts";
import type { MembershipMoves } from "../rooms/membership_moves.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  insertDeviceListChange,
  selectDeviceListChanges,
  selectKeySignatureChanges,
  upsertKeySignatureChange,
} from "../storage/cross_signing.ts";
import { filterUsersSharingRoom, selectLocalUsersSharingRoom } from "../storage/shared_rooms.ts";
import { advanceStream } from "../storage/streams.ts";
import type { Notifier } from "../streams/notifier.ts";

/** What the service is built from. */
export interface DeviceListsDeps {
  readonly db: Database;
  readonly notifier: Notifier;
  readonly moves: MembershipMoves;
}

/** A span of the two streams that matter here. */
export interface DeviceListRange {
  readonly deviceLists: { readonly after: number; readonly upTo: number };
  readonly events: { readonly after: number; readonly upTo: number };
}

/** Past this many changes a client is better off asking for everybody it knows. */
const MAX_CHANGES = 50_000;

/** Records and reads changes of device lists. */
export class DeviceListsService {
  readonly #deps: DeviceListsDeps;

  constructor(deps: DeviceListsDeps) {
    this.#deps = deps;
  }

  /** Notes that a user's device keys or cross-signing keys changed, and wakes who needs to know. */
  async noteChange(tx: Tx, userId: UserId): Promise<void> {
    const audience = new Set([userId, ...await selectLocalUsersSharingRoom(tx, { userIds: [userId] })]);
    const position = await advanceStream(tx, "device_lists", 1);
    await insertDeviceListChange(tx, { userId, position });
    tx.afterCommit(() => this.#deps.notifier.publish("device_lists", position, audience));
  }

  /** Notes that a user signed keys of others: nobody but the user's own devices sees that. */
  async noteSignatures(tx: Tx, { signer, targets }: { signer: UserId; targets: Iterable<UserId> }): Promise<void> {
    const position = await advanceStream(tx, "device_lists", 1);
    for (const target of targets) await upsertKeySignatureChange(tx, { signer, target, position });
    tx.afterCommit(() => this.#deps.notifier.publish("device_lists", position, [signer]));
  }

  /** Returns whose lists a user must refresh or may forget. Sorted. */
  async changes(userId: UserId, range: DeviceListRange): Promise<{ changed: UserId[]; left: UserId[] }> {
    const { deviceLists, events } = range;
    const changed = new Set<UserId>();
    if (deviceLists.upTo > deviceLists.after) {
      const range = { ...deviceLists, limit: MAX_CHANGES };
      const users = await selectDeviceListChanges(this.#deps.db, range);
      const shared = await filterUsersSharingRoom(this.#deps.db, { userId, others: users });
      for (const user of users) if (user === userId || shared.has(user)) changed.add(user);
      for (const user of await selectKeySignatureChanges(this.#deps.db, { signer: userId, ...range })) {
        changed.add(user);
      }
    }
    const left = new Set<UserId>();
    if (events.upTo > events.after) {
      // Spec: who now shares an *encrypted* room. All who come to share any are told of, but for crowds that are found with
      // the whole state of a room without encryption.
      const moves = await this.#deps.moves.between({ userId, ...events });
      // A join that is told to other servers changes the list of who joined, so that their other devices hear of it; one of
      // a room without members is not told.
      if (moves.joinedPartial) changed.add(userId);
      const concerned = [...new Set([...moves.joined, ...moves.left])].filter((user) => user !== userId);
      const shared = await filterUsersSharingRoom(this.#deps.db, { userId, others: concerned });
      for (const user of concerned) {
        if (shared.has(user)) { if (moves.joined.has(user)) changed.add(user); }
        else if (moves.left.has(user)) left.add(user);
      }
    }
    for (const user of left) changed.delete(user);
    return { changed: [...changed].sort(), left: [...left].sort() };
  }
}
