/**
 * Replacing a room by one of another version. Spec: client-server API, "Room Upgrades".
 *
 * The new room is written first, complete; then the old one gets its tombstone and its raised power levels in one
 * transaction, which also moves the aliases. Should the server die in between, the old room is as it was and the new one
 * an unused room of the upgrader.
 */
import { forbidden, MatrixError } from "../protocol/errors.ts";
import { parseUserId, type RoomId, type UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import { getRequiredLevel, getUserLevel } from "../protocol/power_levels.ts";
import { getRoomVersion, type RoomVersionRules } from "../protocol/room_versions.ts";
import { moveAliases, selectAliasesOfRoom } from "../storage/directory.ts";
import { selectBannedMembers, selectRoomByNid, updateRoomIsPublic } from "../storage/rooms.ts";
import { nextTurn } from "../lib/turn.ts";
import type { RoomBatch } from "./batch.ts";
import type { EventTemplate } from "./build.ts";
import { persistNewRoom } from "./create.ts";
import type { EngineDeps } from "./engine_deps.ts";
import { memberContent } from "./member_content.ts";
import { carriedPowerLevels, closedPowerLevels, setupPowerLevels } from "./power.ts";
import type { RoomCopy } from "./room_heads.ts";
import type { Requester, StoredEvent } from "./types.ts";

/** What to replace, and by what. */
export interface UpgradeOptions {
  readonly roomId: RoomId;
  readonly newVersion: string;
  /** From version 12 on; not carried over from the old room. */
  readonly additionalCreators?: readonly string[];
}

/** What else of the state goes into the new room; power levels come first and bans last. */
const CARRIED: readonly string[] = [
  "m.room.join_rules",
  "m.room.history_visibility",
  "m.room.guest_access",
  "m.room.name",
  "m.room.topic",
  "m.room.avatar",
  "m.room.encryption",
  "m.room.server_acl",
  "m.room.canonical_alias",
];
const MAX_CARRIED_BANS = 5_000;
const EVENTS_PER_TURN = 50;

/** Upgrades a room; returns the id of its replacement. */
export async function upgradeRoom(
  deps: EngineDeps,
  { requester, options }: { requester: Requester; options: UpgradeOptions },
): Promise<RoomId> {
  const rules = getRoomVersion(options.newVersion);
  if (rules === null) {
    throw new MatrixError(400, "M_UNSUPPORTED_ROOM_VERSION", `Room version "${options.newVersion}" is not supported`);
  }
  const old = await deps.heads.load(options.roomId);
  if (old === null) throw forbidden("You are not in the room");
  await assertMayUpgrade(deps, { old, userId: requester.userId });
  const creators = creatorsOf(options, { rules, upgrader: requester.userId });
  const newRoomId = await persistNewRoom(deps, {
    rules,
    build: (batch) => buildReplacement(deps, { batch, old, upgrader: requester.userId, creators }),
  });
  await deps.queues.run(
    options.roomId,
    (batch) => closeOldRoom(deps, { batch, newRoomId, upgrader: requester.userId }),
  );
  return newRoomId;
}

function creatorsOf(
  { additionalCreators = [] }: UpgradeOptions,
  { rules, upgrader }: { rules: RoomVersionRules; upgrader: UserId },
): UserId[] {
  if (!rules.privilegedCreators) {
    if (additionalCreators.length === 0) return [];
    throw new MatrixError(400, "M_INVALID_PARAM", "The room version does not know additional creators");
  }
  return [...new Set(additionalCreators)].map((text) => {
    const userId = parseUserId(text);
    if (userId === null) throw new MatrixError(400, "M_INVALID_PARAM", `"${text}" is not a user id`);
    return userId;
  }).filter((userId) => userId !== upgrader);
}

async function readState(
  deps: EngineDeps,
  { old, type, stateKey = "" }: { old: RoomCopy; type: string; stateKey?: string },
): Promise<StoredEvent | null> {
  const nid = await deps.keys.nidOf(type, stateKey);
  if (nid === null) return null;
  const eventNid = await deps.trees.get(old.stateRoot, { nid, isMember: type === "m.room.member" });
  return eventNid === null ? null : await deps.events.getByNid(eventNid);
}

async function assertMayUpgrade(deps: EngineDeps, { old, userId }: { old: RoomCopy; userId: UserId }): Promise<void> {
  const member = await readState(deps, { old, type: "m.room.member", stateKey: userId });
  const create = await readState(deps, { old, type: "m.room.create" });
  if (member?.event.content["membership"] !== "join" || create === null) throw forbidden("You are not in the room");
  const powerLevels = await readState(deps, { old, type: "m.room.power_levels" });
  const levels = { create: create.event, powerLevels: powerLevels?.event };
  if (getUserLevel(levels, userId) < getRequiredLevel(levels, { type: "m.room.tombstone", isState: true })) {
    throw forbidden("You do not have the power level to replace the room");
  }
}

async function buildReplacement(
  deps: EngineDeps,
  { batch, old, upgrader, creators }: {
    batch: RoomBatch;
    old: RoomCopy;
    upgrader: UserId;
    creators: readonly UserId[];
  },
): Promise<void> {
  const send = (type: string, content: JsonObject, stateKey = "") =>
    batch.append({ type, stateKey, sender: upgrader, content });
  const create = await readState(deps, { old, type: "m.room.create" });
  await batch.append({
    type: "m.room.create",
    stateKey: "",
    sender: upgrader,
    content: createContent(create, { batch, old, upgrader, creators }),
    originServerTs: deps.createTime.next(),
  });
  const profile = await deps.profiles.get(upgrader);
  await send("m.room.member", memberContent("join", { profile }), upgrader);
  const levels = await readState(deps, { old, type: "m.room.power_levels" });
  const carried = carriedPowerLevels(levels?.event.content ?? {}, {
    rules: batch.rules,
    creators: [upgrader, ...creators],
    upgrader,
  });
  const setup = setupPowerLevels(carried, { rules: batch.rules, upgrader });
  await send("m.room.power_levels", setup);
  for (const type of CARRIED) {
    const stored = await readState(deps, { old, type });
    if (stored !== null && stored.redactedByNid === null) await send(type, { ...stored.event.content });
  }
  await carryBans(deps, { batch, old, upgrader });
  if (setup !== carried) await send("m.room.power_levels", carried);
  const row = await selectRoomByNid(deps.db, old.identity.roomNid);
  if (row !== null && row.isPublic) {
    batch.addWrite((tx, { roomNid }) => updateRoomIsPublic(tx, { roomNid, isPublic: true }));
  }
}

async function carryBans(
  deps: EngineDeps,
  { batch, old, upgrader }: { batch: RoomBatch; old: RoomCopy; upgrader: UserId },
): Promise<void> {
  const nids = await selectBannedMembers(deps.db, { roomNid: old.identity.roomNid, limit: MAX_CARRIED_BANS });
  const bans = [...(await deps.events.byNid(nids)).values()];
  for (const [index, { event }] of bans.entries()) {
    const { reason } = event.content;
    const content = typeof reason === "string" ? { membership: "ban", reason } : { membership: "ban" };
    await batch.append({ type: "m.room.member", stateKey: event.stateKey, sender: upgrader, content });
    if (index % EVENTS_PER_TURN === 0) await nextTurn();
  }
}

/** Ends the old room: nobody but moderators speaks there any more, and its aliases lead to the new one. */
async function closeOldRoom(
  deps: EngineDeps,
  { batch, newRoomId, upgrader }: { batch: RoomBatch; newRoomId: RoomId; upgrader: UserId },
): Promise<void> {
  const { roomId } = batch.room;
  const body = "This room has been replaced";
  await batch.append({
    type: "m.room.tombstone",
    stateKey: "",
    sender: upgrader,
    content: { body, replacement_room: newRoomId },
  });
  const alias = await batch.current("m.room.canonical_alias", "");
  if (alias !== null && Object.keys(alias.event.content).length > 0) {
    await appendIfAllowed(batch, { type: "m.room.canonical_alias", stateKey: "", sender: upgrader, content: {} });
  }
  const levels = await batch.current("m.room.power_levels", "");
  const closed = closedPowerLevels(levels?.event.content ?? {});
  await appendIfAllowed(batch, { type: "m.room.power_levels", stateKey: "", sender: upgrader, content: closed });
  const aliases = await selectAliasesOfRoom(deps.db, roomId);
  if (aliases.length > 0) batch.addWrite((tx) => moveAliases(tx, { from: roomId, to: newRoomId }));
}

async function appendIfAllowed(batch: RoomBatch, template: EventTemplate): Promise<void> {
  const start = batch.checkpoint();
  try {
    await batch.append(template);
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error;
    batch.rollback(start);
  }
}

function createContent(
  create: StoredEvent | null,
  { batch, old, upgrader, creators }: {
    batch: RoomBatch;
    old: RoomCopy;
    upgrader: UserId;
    creators: readonly UserId[];
  },
): JsonObject {
  const { type, "m.federate": federate } = create?.event.content ?? {};
  const [last] = old.extremities;
  const predecessor: JsonObject = { room_id: old.identity.roomId };
  // Since version 12 rooms do not name the last event of the one before.
  if (last !== undefined && !batch.rules.roomIdIsCreateHash) predecessor["event_id"] = last.event.eventId;
  const content: JsonObject = { room_version: batch.rules.id, predecessor };
  if (type !== undefined) content["type"] = type;
  if (federate !== undefined) content["m.federate"] = federate;
  if (batch.rules.creatorInContent) content["creator"] = upgrader;
  if (creators.length > 0) content["additional_creators"] = [...creators];
  return content;
}
