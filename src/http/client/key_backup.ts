/**
 * Key backup. Spec: client-server API, "Server-side key backups".
 *   POST, GET /room_keys/version
 *   GET, PUT, DELETE /room_keys/version/{version}
 *   PUT, GET, DELETE /room_keys/keys
 *   PUT, GET, DELETE /room_keys/keys/{roomId}
 *   PUT, GET, DELETE /room_keys/keys/{roomId}/{sessionId}
 */
import { z } from "zod";
import { badJson, invalidParam, missingParam, notFound } from "../../protocol/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../protocol/json.ts";
import { type KeyBackupService, parseRoomKey, renderRoomKey } from "../../services/key_backup.ts";
import type { RoomKey } from "../../storage/key_backup.ts";
import { type App, client, type Ctx, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson, readJsonObject } from "../middleware/body.ts";
import { pathText, searchParams } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface KeyBackupRoutesDeps {
  readonly auth: Auth;
  readonly backups: KeyBackupService;
}

const MAX_BODY_BYTES = 8_388_608;
const AuthData = z.custom<JsonObject>(isJsonObject);
const VersionBody = z.looseObject({
  algorithm: z.string().min(1).max(255),
  auth_data: AuthData,
  version: z.string().optional(),
});

/** Registers the key backup endpoints. */
export function keyBackupRoutes(app: App, deps: KeyBackupRoutesDeps): void {
  versionRoutes(app, deps);
  for (const path of ["/room_keys/keys", "/room_keys/keys/:roomId", "/room_keys/keys/:roomId/:sessionId"]) {
    keyRoutes(app, path, deps);
  }
}

function versionRoutes(app: App, { auth, backups }: KeyBackupRoutesDeps): void {
  client(app)
    .post("/room_keys/version", auth.user(), async (c) => {
      const { algorithm, auth_data } = await readJson(c, VersionBody);
      const { userId } = requester(c);
      return json({ version: await backups.createVersion({ userId, algorithm, authData: auth_data }) });
    })
    .get("/room_keys/version", auth.user(), async (c) => {
      return json(await backups.describe({ userId: requester(c).userId, version: null }));
    })
    .get("/room_keys/version/:version", auth.user(), async (c) => {
      return json(await backups.describe({ userId: requester(c).userId, version: pathText(c, "version") }));
    })
    .put("/room_keys/version/:version", auth.user(), async (c) => {
      const body = await readJson(c, VersionBody);
      const version = pathText(c, "version");
      if (body.version !== undefined && body.version !== version) {
        throw invalidParam("The version in the body does not match the one in the path");
      }
      const { userId } = requester(c);
      await backups.updateVersion({ userId, version, algorithm: body.algorithm, authData: body.auth_data });
      return json({});
    })
    .delete("/room_keys/version/:version", auth.user(), async (c) => {
      await backups.deleteVersion({ userId: requester(c).userId, version: pathText(c, "version") });
      return json({});
    });
}

function keyRoutes(app: App, path: string, { auth, backups }: KeyBackupRoutesDeps): void {
  client(app)
    .put(path, auth.user(), async (c) => {
      const body = await readJsonObject(c, { maxBytes: MAX_BODY_BYTES });
      const scope = scopeOf(c);
      return json(await backups.putKeys({ ...scope, keys: parseUpload(body, scope) }));
    })
    .get(path, auth.user(), async (c) => {
      const scope = scopeOf(c);
      return json(render(await backups.getKeys(scope), scope));
    })
    .delete(path, auth.user(), async (c) => json(await backups.deleteKeys(scopeOf(c))));
}

interface Scope {
  readonly userId: ReturnType<typeof requester>["userId"];
  readonly version: string;
  readonly roomId?: string;
  readonly sessionId?: string;
}

function scopeOf(c: Ctx): Scope {
  const version = searchParams(c).get("version");
  if (version === null) throw missingParam("version");
  const roomId = c.req.param("roomId");
  const sessionId = c.req.param("sessionId");
  return {
    userId: requester(c).userId,
    version,
    ...(roomId === undefined ? {} : { roomId: pathText(c, "roomId") }),
    ...(sessionId === undefined ? {} : { sessionId: pathText(c, "sessionId") }),
  };
}

/** Parses a body of any of the three levels. */
function parseUpload(body: JsonObject, { roomId, sessionId }: Scope): RoomKey[] {
  if (roomId !== undefined && sessionId !== undefined) return [parseSession({ roomId, sessionId, data: body })];
  if (roomId !== undefined) return parseSessions(roomId, body);
  const rooms = requireObject(body.rooms, "rooms");
  return Object.entries(rooms).flatMap(([room, data]) => parseSessions(room, requireObject(data, room)));
}

function parseSessions(roomId: string, data: JsonObject): RoomKey[] {
  const sessions = requireObject(data.sessions, "sessions");
  return Object.entries(sessions).map(([sessionId, session]) => parseSession({ roomId, sessionId, data: session }));
}

function parseSession(session: { roomId: string; sessionId: string; data: JsonValue }): RoomKey {
  const key = parseRoomKey(session);
  if (key === null) throw badJson(`Invalid key data for session "${session.sessionId.slice(0, 255)}"`);
  return key;
}

function requireObject(value: JsonValue | undefined, name: string): JsonObject {
  if (value === undefined) throw missingParam(name);
  if (!isJsonObject(value)) throw badJson(`"${name.slice(0, 255)}" must be an object`);
  return value;
}

function render(keys: readonly RoomKey[], { roomId, sessionId }: Scope): JsonObject {
  if (sessionId !== undefined) {
    const [key] = keys;
    if (!key) throw notFound("No room keys found");
    return renderRoomKey(key);
  }
  const rooms = new Map<string, [sessionId: string, key: JsonObject][]>();
  for (const key of keys) {
    const sessions = rooms.get(key.roomId) ?? [];
    sessions.push([key.sessionId, renderRoomKey(key)]);
    rooms.set(key.roomId, sessions);
  }
  if (roomId !== undefined) return { sessions: Object.fromEntries(rooms.get(roomId) ?? []) };
  const entries = [...rooms].map(([room, sessions]) => [room, { sessions: Object.fromEntries(sessions) }]);
  return { rooms: Object.fromEntries(entries) };
}
