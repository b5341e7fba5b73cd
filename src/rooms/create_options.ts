/** Checking what a new room is asked to be. Spec: client-server API, "POST /createRoom". */
import { badJson, invalidParam, MatrixError } from "../protocol/errors.ts";
import { parseRoomAlias, parseUserId, type RoomAlias, type ServerName, type UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import { getRoomVersion, type RoomVersionRules } from "../protocol/room_versions.ts";
import type { ExtraWrite } from "./pending.ts";

const PRESETS = ["private_chat", "trusted_private_chat", "public_chat"] as const;
const MAX_INITIAL_STATE = 200;
const MAX_INVITES = 500;

/** A named set of defaults. */
export type Preset = typeof PRESETS[number];

/** What the client asks for; absent values take the spec's defaults. */
export interface CreateRoomOptions {
  readonly roomVersion?: string | undefined;
  readonly preset?: string | undefined;
  readonly visibility?: "public" | "private" | undefined;
  readonly roomAliasName?: string | undefined;
  readonly name?: string | undefined;
  readonly topic?: string | undefined;
  readonly invite?: readonly string[] | undefined;
  readonly initialState?:
    | readonly { readonly type: string; readonly stateKey?: string | undefined; readonly content: JsonObject }[]
    | undefined;
  readonly creationContent?: JsonObject | undefined;
  readonly powerLevelContentOverride?: JsonObject | undefined;
  readonly isDirect?: boolean | undefined;
  /** Whatever `encryption_enabled_by_default_for_room_type` says. No client can ask for it. */
  readonly isNeverEncrypted?: boolean | undefined;
  /** A further write of the transaction that makes the room. No client can ask for it. */
  readonly alsoWrite?: ExtraWrite | undefined;
}

/** The same, checked. */
export interface CreatePlan {
  readonly rules: RoomVersionRules;
  readonly preset: Preset;
  readonly isPublic: boolean;
  readonly alias: RoomAlias | null;
  readonly name: string | null;
  readonly topic: string | null;
  readonly invites: readonly UserId[];
  readonly initialState: readonly { readonly type: string; readonly stateKey: string; readonly content: JsonObject }[];
  readonly creationContent: JsonObject;
  readonly powerLevelOverride: JsonObject;
  readonly isDirect: boolean;
  readonly isNeverEncrypted: boolean;
}

/** Checks the options. Throws what the spec says for those that are not allowed. */
export function planRoom(
  options: CreateRoomOptions,
  { defaultVersion, serverName }: { defaultVersion: string; serverName: ServerName },
): CreatePlan {
  const rules = getRoomVersion(options.roomVersion ?? defaultVersion);
  if (rules === null) {
    throw new MatrixError(400, "M_UNSUPPORTED_ROOM_VERSION", `Room version "${options.roomVersion}" is not supported`);
  }
  const isPublic = options.visibility === "public";
  return {
    rules,
    preset: parsePreset(options.preset ?? (isPublic ? "public_chat" : "private_chat")),
    isPublic,
    alias: options.roomAliasName === undefined ? null : makeAlias(options.roomAliasName, serverName),
    name: options.name ?? null,
    topic: options.topic ?? null,
    invites: parseInvites(options.invite ?? []),
    initialState: parseInitialState(options.initialState ?? []),
    creationContent: parseCreationContent(options.creationContent ?? {}, rules),
    powerLevelOverride: options.powerLevelContentOverride ?? {},
    isDirect: options.isDirect === true,
    isNeverEncrypted: options.isNeverEncrypted === true,
  };
}

function parsePreset(text: string): Preset {
  const preset = PRESETS.find((known) => known === text);
  if (preset === undefined) throw badJson(`"${text}" is not a preset`);
  return preset;
}

function makeAlias(localpart: string, serverName: ServerName): RoomAlias {
  const alias = /[\s:#]/.test(localpart) ? null : parseRoomAlias(`#${localpart}:${serverName}`);
  if (alias === null) throw invalidParam(`"${localpart}" cannot be the local part of an alias`);
  return alias;
}

function parseInvites(invite: readonly string[]): UserId[] {
  if (invite.length > MAX_INVITES) throw invalidParam(`At most ${MAX_INVITES} users can be invited to a new room`);
  return [...new Set(invite)].map((text) => {
    const userId = parseUserId(text);
    if (userId === null) throw invalidParam(`"${text}" is not a user id`);
    return userId;
  });
}

function parseInitialState(events: NonNullable<CreateRoomOptions["initialState"]>): CreatePlan["initialState"] {
  if (events.length > MAX_INITIAL_STATE) throw invalidParam(`At most ${MAX_INITIAL_STATE} initial state events`);
  return events.map(({ type, stateKey = "", content }) => {
    if (type === "m.room.create") throw badJson("The initial state cannot hold the create event");
    return { type, stateKey, content };
  });
}

function parseCreationContent(content: JsonObject, rules: RoomVersionRules): JsonObject {
  const federate = content["m.federate"];
  if (federate !== undefined && typeof federate !== "boolean") throw badJson(`"m.federate" must be a boolean`);
  const predecessor = content["predecessor"];
  if (predecessor !== undefined && !isJsonObject(predecessor)) throw badJson(`"predecessor" must be an object`);
  const additional = content["additional_creators"];
  if (rules.privilegedCreators && additional !== undefined) {
    const valid = Array.isArray(additional) &&
      additional.every((user) => typeof user === "string" && parseUserId(user) !== null);
    if (!valid) throw invalidParam(`"additional_creators" must be a list of user ids`);
  }
  const { room_version: _version, creator: _creator, ...rest } = content;
  return rest;
}
