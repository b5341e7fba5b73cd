/**
 * Making a room. Spec: client-server API, "Creation".
 *
 * All events of a new room are one batch and one transaction: either the room is there, with its alias and its
 * invitations, or nothing is.
 */
import { domainOf } from "../protocol/auth_rules_context.ts";
import { forbidden, invalidParam, MatrixError } from "../protocol/errors.ts";
import { stateKeyOf } from "../protocol/event.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import type { RoomVersionRules } from "../protocol/room_versions.ts";
import { DatabaseError } from "../storage/database_error.ts";
import { insertAlias } from "../storage/directory.ts";
import { updateRoomIsPublic } from "../storage/rooms.ts";
import { RoomBatch } from "./batch.ts";
import { type CreatePlan, type CreateRoomOptions, planRoom, type Preset } from "./create_options.ts";
import type { EngineDeps } from "./engine_deps.ts";
import { assertInvitesAllowed, assertMayInvite } from "./invite_rules.ts";
import { memberContent, profileFor } from "./member_content.ts";
import { setMembership } from "./membership.ts";
import { persistBatch } from "./persist.ts";
import { defaultPowerLevels } from "./power.ts";
import type { Requester } from "./types.ts";

interface PresetRules {
  readonly joinRule: string;
  readonly guestsCanJoin: boolean;
  /** The level needed to invite. */
  readonly invite: number;
  /** The level needed to ring everybody; null where it is that of sending a message. As Synapse. */
  readonly callInvite: number | null;
}

const PRESET_RULES: Readonly<Record<Preset, PresetRules>> = {
  private_chat: { joinRule: "invite", guestsCanJoin: true, invite: 0, callInvite: null },
  trusted_private_chat: { joinRule: "invite", guestsCanJoin: true, invite: 0, callInvite: null },
  public_chat: { joinRule: "public", guestsCanJoin: false, invite: 50, callInvite: 50 },
};
const LOCALPART_LENGTH = 18;
const MAX_ATTEMPTS = 3;
const ENCRYPTION_ALGORITHM = "m.megolm.v1.aes-sha2";

/** A state event of a new room. */
interface InitialEvent {
  readonly type: string;
  readonly stateKey: string;
  readonly content: JsonObject;
}

/** Creates a room; returns its id once it is durable. */
export async function createRoom(
  deps: EngineDeps,
  { requester, options }: { requester: Requester; options: CreateRoomOptions },
): Promise<RoomId> {
  const plan = planRoom(options, {
    defaultVersion: deps.options.defaultRoomVersion,
    serverName: deps.serverName,
  });
  const invites = requester.isShadowBanned ? [] : plan.invites;
  if (invites.length > 0) assertInvitesAllowed(deps.options, requester);
  for (const target of invites) await assertMayInvite(deps, { sender: requester.userId, target });
  const others = invites.filter((userId) => domainOf(userId) !== deps.serverName);
  if (others.length > 0 && deps.remote.current === null) {
    throw forbidden(`"${others[0]}" is of another server, which cannot be reached`);
  }
  const creator = requester.userId;
  const roomId = await persistNewRoom(deps, {
    rules: plan.rules,
    build: async (batch) => {
      await buildRoom(deps, { batch, plan: { ...plan, invites }, creator });
      addRoomWrites(deps, { batch, plan, creator });
      if (options.alsoWrite !== undefined) batch.addWrite(options.alsoWrite);
    },
  });
  await inviteOthers(deps, { requester, roomId, users: others, isDirect: plan.isDirect });
  return roomId;
}

/** Invites users of other servers, which have to sign. The room is there, whoever refuses. */
async function inviteOthers(
  deps: EngineDeps,
  { requester, roomId, users, isDirect }: {
    requester: Requester;
    roomId: RoomId;
    users: readonly UserId[];
    isDirect: boolean;
  },
): Promise<void> {
  await Promise.all(users.map(async (target) => {
    try {
      await setMembership(deps, { requester, roomId, target, membership: "invite", details: { isDirect } });
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error;
    }
  }));
}

/**
 * Builds a room and writes it; returns its id. Before v12 the room id is made up; since then another process may have made
 * the same create event in the same millisecond, and the room is built again.
 */
export async function persistNewRoom(
  deps: EngineDeps,
  { rules, build }: { rules: RoomVersionRules; build: (batch: RoomBatch) => Promise<void> },
): Promise<RoomId> {
  for (let attempt = 1;; attempt++) {
    const roomId = rules.roomIdIsCreateHash
      ? null
      : `!${deps.randomText(LOCALPART_LENGTH)}:${deps.serverName}` as RoomId;
    const batch = new RoomBatch(deps, { newRoom: rules, roomId });
    await build(batch);
    try {
      await persistBatch(deps, batch);
      return batch.room.roomId;
    } catch (error) {
      if (attempt === MAX_ATTEMPTS || !(error instanceof DatabaseError) || error.kind !== "conflict") throw error;
    }
  }
}

/** Adds the events of a new room to its batch, in the order the spec gives. */
export async function buildRoom(
  deps: EngineDeps,
  { batch, plan, creator }: { batch: RoomBatch; plan: CreatePlan; creator: UserId },
): Promise<void> {
  const create = createContent(plan, creator);
  const originServerTs = deps.createTime.next();
  await batch.append({ type: "m.room.create", stateKey: "", sender: creator, content: create, originServerTs });
  const profile = await deps.profiles.get(creator);
  const joined = memberContent("join", { profile });
  await batch.append({ type: "m.room.member", stateKey: creator, sender: creator, content: joined });
  for (const event of initialEvents(deps, { plan, creator, create })) await batch.append({ ...event, sender: creator });
  for (const userId of plan.invites) {
    // Those of other servers are invited once the room is there.
    if (domainOf(userId) !== deps.serverName) continue;
    const details = { isDirect: plan.isDirect };
    const content = memberContent("invite", {
      profile: await profileFor(deps, { userId, membership: "invite" }),
      details,
    });
    await batch.append({ type: "m.room.member", stateKey: userId, sender: creator, content });
  }
}

function createContent({ rules, preset, creationContent, invites }: CreatePlan, creator: UserId): JsonObject {
  const content: JsonObject = { ...creationContent, room_version: rules.id };
  if (rules.creatorInContent) content["creator"] = creator;
  if (rules.privilegedCreators && preset === "trusted_private_chat" && invites.length > 0) {
    const listed = Array.isArray(content["additional_creators"]) ? content["additional_creators"] : [];
    content["additional_creators"] = [...new Set([...listed, ...invites])].filter((userId) => userId !== creator);
  }
  return content;
}

function* initialEvents(
  deps: EngineDeps,
  { plan, creator, create }: { plan: CreatePlan; creator: UserId; create: JsonObject },
): Generator<InitialEvent> {
  const given = new Map(plan.initialState.map((event) => [stateKeyOf(event.type, event.stateKey), event]));
  const isGiven = (type: string) => given.has(stateKeyOf(type, ""));
  const levels = given.get(stateKeyOf("m.room.power_levels", ""));
  yield state("m.room.power_levels", levels?.content ?? powerLevels(deps, { plan, creator, create }));
  if (plan.alias !== null) yield state("m.room.canonical_alias", { alias: plan.alias });
  const preset = PRESET_RULES[plan.preset];
  if (!isGiven("m.room.join_rules")) yield state("m.room.join_rules", { join_rule: preset.joinRule });
  if (!isGiven("m.room.history_visibility")) {
    yield state("m.room.history_visibility", { history_visibility: "shared" });
  }
  // Without the event guests are shut out.
  if (!isGiven("m.room.guest_access") && preset.guestsCanJoin) {
    yield state("m.room.guest_access", { guest_access: "can_join" });
  }
  if (!isGiven("m.room.encryption") && !plan.isNeverEncrypted && isEncryptedByDefault(deps, plan.preset)) {
    yield state("m.room.encryption", { algorithm: ENCRYPTION_ALGORITHM });
  }
  for (const event of plan.initialState) if (event !== levels) yield event;
  if (plan.name !== null) yield state("m.room.name", { name: plan.name });
  if (plan.topic !== null) yield state("m.room.topic", topicContent(plan.topic));
}

function state(type: string, content: JsonObject): InitialEvent {
  return { type, stateKey: "", content };
}

/** Plain text stands in both places, for clients that know extensible events and for those that do not. */
function topicContent(topic: string): JsonObject {
  return { topic, "m.topic": { "m.text": [{ body: topic }] } };
}

function isEncryptedByDefault({ options: { encryptionDefault } }: EngineDeps, preset: Preset): boolean {
  return encryptionDefault === "all" || (encryptionDefault === "invite" && preset !== "public_chat");
}

function powerLevels(
  { options }: EngineDeps,
  { plan, creator, create }: { plan: CreatePlan; creator: UserId; create: JsonObject },
): JsonObject {
  const { rules, preset } = plan;
  const content = {
    ...defaultPowerLevels(rules, {
      creator,
      admins: preset === "trusted_private_chat" ? plan.invites : [],
      invite: PRESET_RULES[preset].invite,
      callInvite: PRESET_RULES[preset].callInvite,
    }),
    ...options.powerLevelOverrides[preset],
    ...plan.powerLevelOverride,
  };
  if (rules.privilegedCreators && isJsonObject(content["users"])) {
    const additional = Array.isArray(create["additional_creators"]) ? create["additional_creators"] : [];
    for (const userId of [creator, ...additional]) {
      if (typeof userId === "string" && Object.hasOwn(content["users"], userId)) {
        throw invalidParam(`"${userId}" creates the room and cannot be listed in its power levels`);
      }
    }
  }
  return content;
}

/** Adds what is written beside the events: the alias and the place in the public directory. */
export function addRoomWrites(
  deps: EngineDeps,
  { batch, plan, creator }: {
    batch: RoomBatch;
    plan: Pick<CreatePlan, "alias" | "isPublic">;
    creator: UserId;
  },
): void {
  const { alias } = plan;
  if (alias !== null) {
    batch.addWrite(async (tx, { roomId }) => {
      const isNew = await insertAlias(tx, { alias, roomId, creator, createdTs: deps.clock.now() });
      if (!isNew) throw new MatrixError(400, "M_ROOM_IN_USE", `Room alias "${alias}" is taken`);
    });
  }
  if (plan.isPublic) {
    batch.addWrite((tx, { roomNid }) => updateRoomIsPublic(tx, { roomNid, isPublic: true }));
  }
}
