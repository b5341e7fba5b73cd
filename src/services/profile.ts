/** Profiles. Spec: client-server API, "Profiles". */
import { canonicalJson, utf8Length } from "../protocol/canonical_json.ts";
import { badJson, forbidden, invalidParam, MatrixError, notFound } from "../protocol/errors.ts";
import { type ServerName, serverNameOf, type UserId } from "../protocol/ids.ts";
import type { JsonObject, JsonValue } from "../protocol/json.ts";
import type { Requester } from "../rooms/types.ts";
import type { Database } from "../storage/database.ts";
import { selectMedia } from "../storage/media.ts";
import { insertProfileUpdate, type ProfileRow, selectProfile, upsertProfile } from "../storage/profiles.ts";
import { filterUsersSharingRoom } from "../storage/shared_rooms.ts";
import { selectUser } from "../storage/users.ts";
import { type ProfileChanges, profileJson } from "./profile_changes.ts";

/** Options of the configuration, by Synapse's names. */
export interface ProfileOptions {
  readonly enableSetDisplayname: boolean;
  readonly enableSetAvatarUrl: boolean;
  readonly requireAuthForProfileRequests: boolean;
  readonly limitProfileRequestsToUsersWhoShareRooms: boolean;
  /** In bytes; null is no bound. */
  readonly maxAvatarSize: number | null;
  /** Null is any type. */
  readonly allowedAvatarMimetypes: readonly string[] | null;
}

/** What the service is built from. */
export interface ProfilesDeps {
  readonly db: Database;
  readonly serverName: ServerName;
  readonly options: ProfileOptions;
  /** Asks the server of a remote user; null when it does not say. */
  readonly lookUpRemote: (userId: UserId, key: string | null) => Promise<JsonObject | null>;
  readonly changes: Pick<ProfileChanges, "note">;
  /** Called after a name or an avatar has changed: rooms, presence and the user directory follow. */
  readonly onChange: (userId: UserId) => void;
}

/** A change of one field. */
export interface FieldChange {
  readonly requester: Requester;
  readonly userId: UserId;
  readonly key: string;
  /** Undefined removes the field. */
  readonly value: JsonValue | undefined;
}

/** What a profile adds to member events. */
export interface MemberProfile {
  readonly displayname: string | null;
  readonly avatarUrl: string | null;
}

const MAX_DISPLAYNAME_LENGTH = 256;
const MAX_AVATAR_URL_LENGTH = 1000;
const MAX_KEY_BYTES = 255;
const MAX_PROFILE_BYTES = 65_536;
/** Spec: appendices, "Common Namespaced Identifier Grammar". */
const KEY_GRAMMAR = /^[a-z][a-z0-9._-]*$/;

/** Reads and changes profiles. */
export class Profiles {
  readonly #deps: ProfilesDeps;

  constructor(deps: ProfilesDeps) {
    this.#deps = deps;
  }

  /** Returns a user's whole profile; throws `M_NOT_FOUND`, or `M_FORBIDDEN` to those who may not see it. */
  async get(requester: Requester | null, userId: UserId): Promise<JsonObject> {
    await this.#assertMayRead(requester, userId);
    if (!this.#isLocal(userId)) return await this.#getRemote(userId, null);
    return profileJson(await this.#load(userId));
  }

  /** Returns one field as `{ key: value }`; throws `M_NOT_FOUND` where it is not set. */
  async getField(requester: Requester | null, { userId, key }: { userId: UserId; key: string }): Promise<JsonObject> {
    assertKey(key);
    const profile = this.#isLocal(userId)
      ? await this.get(requester, userId)
      : await this.#assertMayRead(requester, userId).then(() => this.#getRemote(userId, key));
    const value = Object.hasOwn(profile, key) ? profile[key] : undefined;
    if (value === undefined) throw notFound("The profile field is not set");
    return { [key]: value };
  }

  /** Returns a local user's whole profile for another server; throws `M_NOT_FOUND`. */
  async getForServer(userId: UserId): Promise<JsonObject> {
    return profileJson(await this.#load(userId));
  }

  /** Returns what goes into the member events of a local user. */
  async memberProfile(userId: UserId): Promise<MemberProfile> {
    const row = await selectProfile(this.#deps.db, userId);
    return { displayname: row?.displayname ?? null, avatarUrl: row?.avatarUrl ?? null };
  }

  /** Sets or removes one field of the requester's own profile, or of anybody's here for an administrator. */
  async setField({ requester, userId, key, value }: FieldChange): Promise<void> {
    assertKey(key);
    this.#assertMayWrite(requester, { userId, key });
    const checked = checkValue(key, value);
    if (key === "avatar_url" && typeof checked === "string") await this.#assertAvatarAllowed(checked);
    await this.#deps.db.transaction(async (tx) => {
      const current = await selectProfile(tx, userId) ?? { displayname: null, avatarUrl: null, fields: "{}" };
      const next = withField(current, { key, value: checked });
      if (utf8Length(canonicalText(profileJson(next))) > MAX_PROFILE_BYTES) {
        throw new MatrixError(400, "M_PROFILE_TOO_LARGE", "The profile would exceed 64 KiB");
      }
      await upsertProfile(tx, { userId, ...next });
      // What a shadow-banned user chooses is seen by nobody in a room.
      if (requester.isShadowBanned && requester.userId === userId) return;
      if (!isSameProfile(next, current)) await this.#deps.changes.note(tx, { userId, fields: [key] });
      if (next.displayname === current.displayname && next.avatarUrl === current.avatarUrl) return;
      await insertProfileUpdate(tx, userId);
      tx.afterCommit(() => this.#deps.onChange(userId));
    });
  }

  #isLocal(userId: UserId): boolean {
    return serverNameOf(userId) === this.#deps.serverName;
  }

  async #load(userId: UserId): Promise<ProfileRow> {
    const row = await selectProfile(this.#deps.db, userId);
    if (row !== null && !isEmpty(row)) return row;
    const user = await selectUser(this.#deps.db, userId);
    if (user === null) throw notFound("User not found");
    if (user.isErased) throw notFound("The user's profile was erased");
    return row ?? { displayname: null, avatarUrl: null, fields: "{}" };
  }

  async #getRemote(userId: UserId, key: string | null): Promise<JsonObject> {
    const found = await this.#deps.lookUpRemote(userId, key);
    if (found === null) throw notFound("Profile was not found");
    return found;
  }

  async #assertMayRead(requester: Requester | null, userId: UserId): Promise<void> {
    const { requireAuthForProfileRequests, limitProfileRequestsToUsersWhoShareRooms } = this.#deps.options;
    if (!requireAuthForProfileRequests && !limitProfileRequestsToUsersWhoShareRooms) return;
    if (requester === null) throw new MatrixError(401, "M_MISSING_TOKEN", "Missing access token");
    if (!limitProfileRequestsToUsersWhoShareRooms || requester.userId === userId || requester.isAdmin) return;
    const shared = await filterUsersSharingRoom(this.#deps.db, { userId: requester.userId, others: [userId] });
    if (!shared.has(userId)) throw forbidden("You do not share a room with this user");
  }

  /** An avatar whose size or type is not known is not allowed where there are rules for them. */
  async #assertAvatarAllowed(url: string): Promise<void> {
    const { maxAvatarSize, allowedAvatarMimetypes } = this.#deps.options;
    if (maxAvatarSize === null && allowedAvatarMimetypes === null) return;
    const [, origin = "", mediaId = ""] = /^mxc:\/\/([^/]+)\/([^/]+)$/.exec(url) ?? [];
    const media = await selectMedia(this.#deps.db, { origin: origin as ServerName, mediaId });
    const isSmall = maxAvatarSize === null || (media?.length ?? Infinity) <= maxAvatarSize;
    const isRightType = allowedAvatarMimetypes === null || allowedAvatarMimetypes.includes(media?.contentType ?? "");
    if (media === null || !isSmall || !isRightType) throw forbidden("This avatar is not allowed");
  }

  #assertMayWrite(requester: Requester, { userId, key }: { userId: UserId; key: string }): void {
    if (!this.#isLocal(userId)) throw invalidParam("The user is not hosted on this server");
    if (requester.isAdmin) return;
    if (requester.userId !== userId) throw forbidden("Cannot change another user's profile");
    const { enableSetDisplayname, enableSetAvatarUrl } = this.#deps.options;
    if (key === "displayname" && !enableSetDisplayname) throw forbidden("Changing display name is disabled");
    if (key === "avatar_url" && !enableSetAvatarUrl) throw forbidden("Changing avatar is disabled");
  }
}

function isEmpty({ displayname, avatarUrl, fields }: ProfileRow): boolean {
  return displayname === null && avatarUrl === null && fields === "{}";
}

function assertKey(key: string): void {
  if (utf8Length(key) > MAX_KEY_BYTES) throw new MatrixError(400, "M_KEY_TOO_LARGE", "The profile key is too long");
  if (!KEY_GRAMMAR.test(key)) throw invalidParam("Invalid profile key");
}

/** Names and avatars are text, and no text is none; other fields are any JSON. */
function checkValue(key: string, value: JsonValue | undefined): JsonValue | undefined {
  if (key !== "displayname" && key !== "avatar_url") return value;
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value !== "string") throw badJson(`Invalid value for "${key}"`);
  const max = key === "displayname" ? MAX_DISPLAYNAME_LENGTH : MAX_AVATAR_URL_LENGTH;
  if (value.length > max) throw invalidParam(`The value of "${key}" is too long (max ${max})`);
  if (value.includes("\u0000")) throw invalidParam(`The value of "${key}" has a NUL character`);
  return value;
}

function withField(row: ProfileRow, { key, value }: { key: string; value: JsonValue | undefined }): ProfileRow {
  if (key === "displayname") return { ...row, displayname: typeof value === "string" ? value : null };
  if (key === "avatar_url") return { ...row, avatarUrl: typeof value === "string" ? value : null };
  const fields: JsonObject = JSON.parse(row.fields);
  if (value === undefined) delete fields[key];
  else fields[key] = value;
  return { ...row, fields: JSON.stringify(fields) };
}

function isSameProfile(left: ProfileRow, right: ProfileRow): boolean {
  return left.displayname === right.displayname && left.avatarUrl === right.avatarUrl && left.fields === right.fields;
}

function canonicalText(profile: JsonObject): string {
  try {
    return canonicalJson(profile);
  } catch {
    throw badJson("The value cannot be represented in canonical JSON");
  }
}
