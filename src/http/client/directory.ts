/**
 * Room aliases and the public room list. Spec: client-server API, "Room aliases" and "Listing rooms".
 *   PUT, GET, DELETE /directory/room/{roomAlias}
 *   GET /rooms/{roomId}/aliases
 *   GET, PUT /directory/list/room/{roomId}
 *   GET, POST /publicRooms
 */
import { z } from "zod";
import { badJson, invalidParam, missingToken } from "../../protocol/errors.ts";
import { parseRoomAlias, parseRoomId, parseServerName, type ServerName } from "../../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../../protocol/json.ts";
import type { DirectoryService } from "../../services/directory.ts";
import type { PublicRoomsQuery, PublicRoomsService } from "../../services/public_rooms.ts";
import type { RoomList } from "../../storage/directory.ts";
import { type App, client, requester, sessionOf } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson, readJsonObject } from "../middleware/body.ts";
import { intParam, pathIds, query, searchParams } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface DirectoryRoutesDeps {
  readonly auth: Auth;
  readonly directory: DirectoryService;
  readonly publicRooms: PublicRoomsService;
  readonly serverName: ServerName;
  /** Asks another server for its list. */
  readonly remotePublicRooms: (server: ServerName, body: JsonObject) => Promise<JsonObject>;
  /** The public list is shown to everybody only when configured so. */
  readonly allowPublicRoomsWithoutAuth: boolean;
}

const AliasBody = z.looseObject({ room_id: z.string() });
const VisibilityBody = z.looseObject({ visibility: z.enum(["public", "private"]).optional() });
const ListQuery = z.object({
  limit: intParam({ min: 0 }).optional(),
  since: z.string().optional(),
  server: z.string().optional(),
});

/** Registers the directory endpoints. */
export function directoryRoutes(app: App, deps: DirectoryRoutesDeps): void {
  const { auth, directory } = deps;
  client(app)
    .put("/directory/room/:roomAlias", auth.user(), async (c) => {
      const { roomAlias: alias } = pathIds(c, { roomAlias: parseRoomAlias });
      const roomId = parseRoomId((await readJson(c, AliasBody)).room_id);
      if (roomId === null) throw badJson('"room_id" is not a room id');
      await directory.create(requester(c), { alias, roomId });
      return json({});
    })
    .get("/directory/room/:roomAlias", async (c) => {
      const { roomAlias } = pathIds(c, { roomAlias: parseRoomAlias });
      const { roomId, servers } = await directory.resolve(roomAlias);
      return json({ room_id: roomId, servers: [...servers] });
    })
    .delete("/directory/room/:roomAlias", auth.user(), async (c) => {
      const { roomAlias } = pathIds(c, { roomAlias: parseRoomAlias });
      await directory.delete(requester(c), roomAlias);
      return json({});
    })
    .get("/rooms/:roomId/aliases", auth.user(), async (c) => {
      const { roomId } = pathIds(c, { roomId: parseRoomId });
      return json({ aliases: await directory.aliasesOf(requester(c), roomId) });
    })
    .get("/directory/list/room/:roomId", async (c) => {
      const { roomId } = pathIds(c, { roomId: parseRoomId });
      return json({ visibility: await directory.isListed(roomId) ? "public" : "private" });
    })
    .put("/directory/list/room/:roomId", auth.user(), async (c) => {
      const { roomId } = pathIds(c, { roomId: parseRoomId });
      const { visibility } = await readJson(c, VisibilityBody, { allowEmpty: true });
      await directory.setListed(requester(c), { roomId, isListed: visibility !== "private" });
      return json({});
    });
  publicRoomsRoutes(app, deps);
}

function publicRoomsRoutes(app: App, deps: DirectoryRoutesDeps): void {
  const { auth, publicRooms, allowPublicRoomsWithoutAuth } = deps;
  client(app)
    .get("/publicRooms", auth.optional(), async (c) => {
      if (!allowPublicRoomsWithoutAuth && sessionOf(c) === null) throw missingToken();
      const { limit, since, server } = query(c, ListQuery);
      const remote = remoteOf(server, deps);
      if (remote !== null) {
        const page = { ...(limit === undefined ? {} : { limit }), ...(since === undefined ? {} : { since }) };
        return json(await deps.remotePublicRooms(remote, page));
      }
      return json(
        await publicRooms.list({ limit: limit ?? null, since: since ?? null, searchTerm: null, roomTypes: null }),
      );
    })
    .post("/publicRooms", auth.guestOk(), async (c) => {
      const body = await readJsonObject(c, { allowEmpty: true });
      const remote = remoteOf(searchParams(c).get("server") ?? undefined, deps);
      const list = parseListBody(body);
      return json(remote === null ? await publicRooms.list(list) : await deps.remotePublicRooms(remote, body));
    });
}

/** Returns the other server whose list is asked for; null for ours. */
function remoteOf(server: string | undefined, { serverName }: DirectoryRoutesDeps): ServerName | null {
  if (server === undefined || server === serverName) return null;
  const remote = parseServerName(server);
  if (remote === null) throw invalidParam("Invalid server name");
  return remote;
}

function parseListBody(body: JsonObject): PublicRoomsQuery {
  const { limit, since, filter } = body;
  if (limit !== undefined && (typeof limit !== "number" || !Number.isInteger(limit) || limit < 0)) {
    throw badJson('"limit" must be a positive integer');
  }
  if (since !== undefined && typeof since !== "string") throw badJson('"since" must be a string');
  if (filter !== undefined && !isJsonObject(filter)) throw badJson('"filter" must be an object');
  const term = filter?.generic_search_term;
  if (term !== undefined && term !== null && typeof term !== "string") {
    throw badJson('"generic_search_term" must be a string');
  }
  return {
    limit: limit ?? null,
    since: since ?? null,
    searchTerm: term ?? null,
    roomTypes: parseRoomTypes(filter),
    ...parseList(body),
  };
}

function parseRoomTypes(filter: JsonObject | undefined): (string | null)[] | null {
  const types = filter?.room_types;
  if (types === undefined || types === null) return null;
  if (!Array.isArray(types)) throw badJson('"room_types" must be a list');
  return types.map((type) => {
    if (type !== null && typeof type !== "string") throw badJson('"room_types" holds strings and null');
    return type;
  });
}

/** Reads whose list is meant: that of one network of an application service, or all. */
function parseList({ include_all_networks: all, third_party_instance_id: instance }: JsonObject): { list?: RoomList } {
  if (all !== undefined && all !== null && typeof all !== "boolean") {
    throw badJson('"include_all_networks" must be true or false');
  }
  if (instance === undefined || instance === null || instance === "") return all === true ? { list: "all" } : {};
  if (typeof instance !== "string") throw badJson('"third_party_instance_id" must be a string');
  if (all === true) throw badJson('"include_all_networks" and "third_party_instance_id" exclude each other');
  const bar = instance.indexOf("|");
  if (bar < 0) throw invalidParam('Invalid value for "third_party_instance_id"');
  return { list: { serviceId: instance.slice(0, bar), networkId: instance.slice(bar + 1) } };
}
