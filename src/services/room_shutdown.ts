/**
 * Deleting rooms for administrators, as Synapse does: the room is blocked, all local users leave it and are taken to a room
 * that says why, the aliases follow, and what is kept of the room is deleted.
 *
 * It is a task: each step notes in its own transaction that it was done, or can be done again without a difference. So it
 * goes on after a restart, with one new room and one message in it.
 */
import type { Logger } from "../lib/log.ts";
import { MatrixError, notFound } from "../protocol/errors.ts";
import type { RoomAlias, RoomId, ServerName, UserId } from "../protocol/ids.ts";
import type { JsonObject, JsonValue } from "../protocol/json.ts";
import type { RoomEngine } from "../rooms/engine.ts";
import type { EventStore, RoomIdentity } from "../rooms/event_store.ts";
import type { Requester } from "../rooms/types.ts";
import { insertBlockedRoom } from "../storage/blocked_rooms.ts";
import type { Database, Tx } from "../storage/database.ts";
import { moveAliases, selectAliasesOfRoom } from "../storage/directory.ts";
import { selectRoomServers } from "../storage/federation_outbox.ts";
import { selectPresentUsers, updateForgotten } from "../storage/local_memberships.ts";
import { selectLocalMembership } from "../storage/local_memberships.ts";
import type { ScheduledTask, TaskStatus } from "../storage/scheduled_tasks.ts";
import { selectUser } from "../storage/users.ts";
import type { BegunTask, TaskRun, TaskScheduler } from "./task_scheduler.ts";

/** What the service is built from. */
export interface RoomShutdownDeps {
  readonly db: Database;
  readonly log: Logger;
  readonly tasks: TaskScheduler;
  readonly engine: RoomEngine;
  readonly events: EventStore;
  readonly isLocal: (userId: UserId) => boolean;
  /** Told that a user has forgotten a room. */
  readonly onForgotten: (userId: UserId) => void;
  /** Told that the aliases of a room have changed. */
  readonly onAliases: (roomId: RoomId) => void;
  /** Waits until these servers have what is for them, as far as they take it. */
  readonly whenSent: (servers: readonly ServerName[], signal: AbortSignal) => Promise<void>;
}

/** How a room is to be deleted. */
export interface ShutdownRequest {
  readonly roomId: RoomId;
  readonly requester: UserId;
  /** Who makes the room that the users are taken to; null for no such room. */
  readonly newRoomUser: UserId | null;
  readonly newRoomName: string | null;
  readonly message: string | null;
  readonly block: boolean;
  readonly purge: boolean;
  readonly forcePurge: boolean;
}

interface Progress {
  newRoomId: RoomId | null;
  /** Who is to be taken out, with what they were; null until that was found out. */
  users: [UserId, string][] | null;
  kicked: UserId[];
  failed: UserId[];
  aliases: RoomAlias[];
  isAnnounced: boolean;
}

/** The names of the work, by which Synapse lists it. */
export const SHUTDOWN_ACTION = "shutdown_and_purge_room";
const SHOWN_STATUSES: readonly TaskStatus[] = ["scheduled", "active", "complete", "failed"];
const DEFAULT_NAME = "Content Violation Notification";
const DEFAULT_MESSAGE =
  "Sharing illegal content on this server is not permitted and rooms in violation will be blocked.";
const MAX_USERS = 100_000;
/** What is not noted when the server dies is done again, without a difference. */
const USERS_PER_NOTE = 20;

/** Deletes rooms. */
export class RoomShutdown {
  readonly #deps: RoomShutdownDeps;

  constructor(deps: RoomShutdownDeps) {
    this.#deps = deps;
    deps.tasks.register(SHUTDOWN_ACTION, (task, run) => this.#run(task, run));
  }

  /** Begins to delete a room, which need not be known. Throws 400 while that is being done, or for a foreign user. */
  async begin(request: ShutdownRequest): Promise<BegunTask> {
    const { roomId, newRoomUser } = request;
    if (newRoomUser !== null) await this.#assertOwnUser(newRoomUser);
    const task = { action: SHUTDOWN_ACTION, resourceId: roomId, params: { ...request } };
    const begun = await this.#deps.tasks.scheduleExclusively(task);
    if (begun === null) throw badRequest(`Purge already in progress for ${roomId}`);
    return begun;
  }

  /** Returns how a deletion stands. Throws 404. */
  async status(id: string): Promise<JsonObject> {
    const task = await this.#deps.tasks.get(id);
    if (task?.action !== SHUTDOWN_ACTION) throw notFound(`delete id '${id}' not found`);
    return statusOf(task);
  }

  /** Returns how the deletions of a room stand. Throws 404 when there are none. */
  async statusOfRoom(roomId: RoomId): Promise<JsonObject[]> {
    const filter = { actions: [SHUTDOWN_ACTION], resourceId: roomId, statuses: SHOWN_STATUSES };
    const found = await this.#deps.tasks.list(filter);
    if (found.length === 0) throw notFound(`No delete task for room_id '${roomId}' found`);
    return found.map(statusOf);
  }

  async #assertOwnUser(userId: UserId): Promise<void> {
    const { db, isLocal } = this.#deps;
    if (!isLocal(userId)) throw badRequest(`User must be our own: ${userId}`);
    if (await selectUser(db, userId) === null) throw notFound("User not found");
  }

  async #run(task: ScheduledTask, run: TaskRun): Promise<void> {
    const { engine, events } = this.#deps;
    const request = task.params as unknown as ShutdownRequest;
    const work = new Shutdown(this.#deps, { request, run, progress: progressOf(task) });
    await work.block();
    const room = await events.roomById(request.roomId);
    if (room !== null) await work.shutDown(room);
    if (run.signal.aborted) return;
    await work.note();
    if (!request.purge) return;
    await engine.purge({
      ...{ roomId: request.roomId, isForced: request.forcePurge, signal: run.signal },
      onDone: (tx) => run.complete(tx),
    });
    this.#deps.onAliases(request.roomId);
  }
}

/** One deletion under way. */
class Shutdown {
  readonly #deps: RoomShutdownDeps;
  readonly #request: ShutdownRequest;
  readonly #run: TaskRun;
  readonly #progress: Progress;

  constructor(
    deps: RoomShutdownDeps,
    { request, run, progress }: { request: ShutdownRequest; run: TaskRun; progress: Progress },
  ) {
    this.#deps = deps;
    this.#request = request;
    this.#run = run;
    this.#progress = progress;
  }

  async block(): Promise<void> {
    const { roomId, requester, block } = this.#request;
    if (!block) return;
    await this.#deps.db.transaction((tx) => insertBlockedRoom(tx, { roomId, by: requester }));
  }

  async shutDown(room: RoomIdentity): Promise<void> {
    const { db, whenSent } = this.#deps;
    const { newRoomUser } = this.#request;
    if (newRoomUser !== null && this.#progress.newRoomId === null) await this.#makeRoom(newRoomUser);
    await this.#takeOut(room);
    if (this.#run.signal.aborted) return;
    if (newRoomUser !== null && !this.#progress.isAnnounced) await this.#announce(newRoomUser);
    // Other servers hear that our users left before that is deleted with the room.
    await whenSent(await selectRoomServers(db, room.roomNid), this.#run.signal);
  }

  /** Notes how far it is. */
  async note(): Promise<void> {
    await this.#deps.db.transaction((tx) => this.#save(tx, this.#progress));
  }

  async #save(tx: Tx, progress: Progress): Promise<void> {
    const { newRoomId, kicked, failed, aliases } = progress;
    await this.#run.save(tx, {
      progress: { ...progress } as unknown as JsonObject,
      result: { kicked_users: kicked, failed_to_kick_users: failed, local_aliases: aliases, new_room_id: newRoomId },
    });
  }

  async #makeRoom(creator: UserId): Promise<void> {
    const { newRoomName } = this.#request;
    this.#progress.newRoomId = await this.#deps.engine.createRoom(acting(creator), {
      preset: "public_chat",
      name: newRoomName ?? DEFAULT_NAME,
      powerLevelContentOverride: { users_default: -10 },
      isNeverEncrypted: true,
      alsoWrite: (tx, { roomId: newRoomId }) => this.#save(tx, { ...this.#progress, newRoomId }),
    });
  }

  async #takeOut(room: RoomIdentity): Promise<void> {
    const { db, log } = this.#deps;
    const progress = this.#progress;
    if (progress.users === null) {
      const found = await selectPresentUsers(db, { roomNid: room.roomNid, limit: MAX_USERS });
      progress.users = found.map(({ userId, membership }) => [userId, membership]);
      await this.note();
    }
    const done = new Set([...progress.kicked, ...progress.failed]);
    for (const [userId, membership] of progress.users) {
      if (done.has(userId)) continue;
      if (this.#run.signal.aborted) return;
      try {
        await this.#move(room, { userId, membership });
        progress.kicked.push(userId);
      } catch (error) {
        if (this.#run.signal.aborted) return;
        log.warn("A user could not be taken out of a room", { user: userId, room: room.roomId, error });
        progress.failed.push(userId);
      }
      done.add(userId);
      if (done.size % USERS_PER_NOTE === 0) await this.note();
    }
  }

  async #move(room: RoomIdentity, { userId, membership }: { userId: UserId; membership: string }): Promise<void> {
    const { db, engine, onForgotten } = this.#deps;
    const { roomNid, roomId } = room;
    const now = await selectLocalMembership(db, { userId, roomId });
    if (now?.membership === "join" || now?.membership === "invite" || now?.membership === "knock") {
      await engine.leave(acting(userId), { roomId });
    }
    await db.transaction(async (tx) => {
      await updateForgotten(tx, { userId, roomNid });
      tx.afterCommit(() => onForgotten(userId));
    });
    const { newRoomId } = this.#progress;
    if (newRoomId !== null && membership === "join") await engine.join(acting(userId), { roomId: newRoomId });
  }

  /** Says why in the new room, and points the aliases to it. */
  async #announce(sender: UserId): Promise<void> {
    const { db, engine, onAliases } = this.#deps;
    const { roomId, message } = this.#request;
    const { newRoomId } = this.#progress;
    if (newRoomId === null) return;
    const aliases = await selectAliasesOfRoom(db, roomId);
    const progress = { ...this.#progress, aliases, isAnnounced: true };
    const content = { msgtype: "m.text", body: message ?? DEFAULT_MESSAGE };
    await engine.withDeps((deps) =>
      deps.queues.run(newRoomId, async (batch) => {
        await batch.append({ type: "m.room.message", stateKey: null, sender, content });
        batch.addWrite(async (tx) => {
          await moveAliases(tx, { from: roomId, to: newRoomId });
          await this.#save(tx, progress);
        });
      })
    );
    Object.assign(this.#progress, progress);
    for (const changed of [roomId, newRoomId]) onAliases(changed);
  }
}

function progressOf({ progress }: ScheduledTask): Progress {
  const fresh = { newRoomId: null, users: null, kicked: [], failed: [], aliases: [], isAnnounced: false };
  return { ...fresh, ...progress } as unknown as Progress;
}

function statusOf({ id, resourceId, status, result, error }: ScheduledTask): JsonObject {
  const shown: Record<string, JsonValue> = { delete_id: id, room_id: resourceId, status, shutdown_room: result };
  // Synapse documents the error but leaves it out.
  return error === null ? shown : { ...shown, error };
}

/** The user as the server acts for them. */
function acting(userId: UserId): Requester {
  return { userId, deviceId: null, isGuest: false, isAdmin: true, isShadowBanned: false, appserviceId: null };
}

function badRequest(message: string): MatrixError {
  return new MatrixError(400, "M_UNKNOWN", message);
}
