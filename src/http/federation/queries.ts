/**
 * Questions of other servers. Spec: server-server API, "Querying for information", "Device Management", "End-to-End
 * Encryption", "Public Room Directory", "Spaces" and "OpenID".
 *   GET  /v1/query/{queryType}, /v1/user/devices/{userId}, /v1/hierarchy/{roomId}
 *   POST /v1/user/keys/query, /v1/user/keys/claim
 *   GET, POST /v1/publicRooms
 *   GET  /v1/openid/userinfo (not signed)
 */
import { z } from "zod";
import { badJson, invalidParam, MatrixError, missingToken, unrecognized } from "../../protocol/errors.ts";
import {
  type DeviceId,
  parseDeviceId,
  parseRoomAlias,
  parseRoomId,
  parseUserId,
  type UserId,
} from "../../protocol/ids.ts";
import type { JsonObject } from "../../protocol/json.ts";
import type { OpenId } from "../../services/openid.ts";
import type { ServerHierarchy } from "../../services/server_hierarchy.ts";
import type { ServerQueries } from "../../services/server_queries.ts";
import { type App, type Ctx, plain } from "../app.ts";
import { checkJson } from "../middleware/body.ts";
import { boolParam, intParam, pathIds, query, searchParams } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";
import { type FederationAuth, signed } from "./signed.ts";

/** What the routes are built from. */
export interface QueryRoutesDeps {
  readonly auth: FederationAuth;
  readonly queries: ServerQueries;
  readonly hierarchy: ServerHierarchy;
  readonly openId: OpenId;
}

const MAX_USERS = 1_000;
const MAX_FIELD_LENGTH = 255;

const ProfileQuery = z.object({ user_id: z.string(), field: z.string().max(MAX_FIELD_LENGTH).optional() });
const DirectoryQuery = z.object({ room_alias: z.string() });
const ListQuery = z.object({ limit: intParam().optional(), since: z.string().optional() });
const ListBody = z.looseObject({
  limit: z.number().int().min(0).optional(),
  since: z.string().optional(),
  filter: z.looseObject({
    generic_search_term: z.string().nullish(),
    room_types: z.array(z.string().nullable()).nullish(),
  }).optional(),
});
const HierarchyQuery = z.object({ suggested_only: boolParam().default(false) });
const KeysBody = z.looseObject({ device_keys: z.record(z.string(), z.array(z.string())) });
const ClaimBody = z.looseObject({ one_time_keys: z.record(z.string(), z.record(z.string(), z.string())) });

/** Registers the endpoints. */
export function queryRoutes(app: App, { auth, queries, hierarchy, openId }: QueryRoutesDeps): void {
  signed(app, auth)
    .get("/v1/query/:queryType", async (c) => json(await answerQuery(c, queries)))
    .get("/v1/user/devices/:userId", async (c) => {
      const { userId } = pathIds(c, { userId: parseUserId });
      return json(await queries.devices(userId));
    })
    .post("/v1/user/keys/query", async (_c, { body }) => json(await queries.keys(keysOf(body))))
    .post("/v1/user/keys/claim", async (_c, { body }) => json(await queries.claim(claimsOf(body))))
    .get("/v1/publicRooms", async (c) => {
      const { limit, since } = query(c, ListQuery);
      const all = { searchTerm: null, roomTypes: null };
      return json(await queries.publicRooms({ ...all, limit: limit ?? null, since: since ?? null }));
    })
    .post("/v1/publicRooms", async (_c, { body }) => {
      const { limit, since, filter } = checkJson(ListBody, body);
      return json(
        await queries.publicRooms({
          limit: limit ?? null,
          since: since ?? null,
          searchTerm: filter?.generic_search_term ?? null,
          roomTypes: filter?.room_types ?? null,
        }),
      );
    })
    .get("/v1/hierarchy/:roomId", async (c, { origin }) => {
      const { roomId } = pathIds(c, { roomId: parseRoomId });
      const { suggested_only: suggestedOnly } = query(c, HierarchyQuery);
      return json(await hierarchy.get(origin, { roomId, suggestedOnly }));
    });
  plain(app).get("/_matrix/federation/v1/openid/userinfo", async (c) => {
    const token = searchParams(c).get("access_token");
    if (token === null) throw missingToken();
    const sub = await openId.userOf(token);
    if (sub === null) throw new MatrixError(401, "M_UNKNOWN_TOKEN", "Access token unknown or expired");
    return json({ sub });
  });
}

async function answerQuery(c: Ctx, queries: ServerQueries): Promise<JsonObject> {
  switch (c.req.param("queryType")) {
    case "profile": {
      queries.received.add(["profile"]);
      const { user_id: text, field } = query(c, ProfileQuery);
      return await queries.profile(requireUserId(text), field ?? null);
    }
    case "directory": {
      queries.received.add(["directory"]);
      const alias = parseRoomAlias(query(c, DirectoryQuery).room_alias);
      if (alias === null) throw invalidParam('Invalid value for query parameter "room_alias"');
      return await queries.directory(alias);
    }
    default:
      throw unrecognized();
  }
}

function requireUserId(text: string): UserId {
  const userId = parseUserId(text);
  if (userId === null) throw invalidParam('Invalid value for query parameter "user_id"');
  return userId;
}

function keysOf(body: JsonObject): Map<UserId, readonly string[]> {
  const users = Object.entries(checkJson(KeysBody, body).device_keys);
  if (users.length > MAX_USERS) throw badJson("Too many users in one query");
  return new Map(users.map(([text, devices]) => [bodyUserId(text), devices]));
}

function claimsOf(body: JsonObject): { userId: UserId; deviceId: DeviceId; algorithm: string }[] {
  const users = Object.entries(checkJson(ClaimBody, body).one_time_keys);
  const claims = users.flatMap(([text, devices]) => {
    const userId = bodyUserId(text);
    return Object.entries(devices).map(([device, algorithm]) => {
      const deviceId = parseDeviceId(device);
      if (deviceId === null) throw badJson("Invalid device id");
      return { userId, deviceId, algorithm };
    });
  });
  if (claims.length > MAX_USERS) throw badJson("Too many keys claimed at once");
  return claims;
}

function bodyUserId(text: string): UserId {
  const userId = parseUserId(text);
  if (userId === null) throw badJson("Invalid user id");
  return userId;
}
