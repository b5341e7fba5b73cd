/**
 * Every operation of the specification on a room, by somebody who is not in it, and by a member who may do nothing
 * there: refused, and changes nothing.
 */
import assert from "node:assert/strict";
import { path, type TestClient } from "../harness/client.ts";
import { createTestDatabase, DIALECTS } from "../harness/databases.ts";
import { type Operation, OPERATIONS } from "../harness/openapi.ts";
import { TestServer } from "../harness/server.ts";
import { goodRequests } from "./cases.ts";
import { readTables } from "./tables.ts";
import { World } from "./world.ts";

/** What is not about being in a room, though its path names one. */
const OPEN_TO_STRANGERS: Readonly<Record<string, string>> = {
  deleteRoomKeysByRoomId: "the caller's own backup",
  deleteRoomKeyBySessionId: "the caller's own backup",
  getAccountDataPerRoom: "the caller's own data",
  getRoomKeysByRoomId: "the caller's own backup",
  getRoomKeyBySessionId: "the caller's own backup",
  getRoomTags: "the caller's own data",
  getRoomVisibilityOnDirectory: "the directory is public",
  deleteRoomTag: "the caller's own data",
  putRoomKeysByRoomId: "the caller's own backup",
  putRoomKeyBySessionId: "the caller's own backup",
  reportRoom: "anybody may complain of a room that they heard of",
  setAccountDataPerRoom: "the caller's own data",
  setRoomTag: "the caller's own data",
  updateAppserviceRoomDirectoryVisibility: "for application services only",
};
/** What takes more than being a member, in a room whose power levels ask for it. */
const NEED_POWER: ReadonlySet<string> = new Set([
  ...["ban", "inviteBy3PID", "inviteUser", "kick", "redactEvent", "sendMessage", "setRoomStateWithKey"],
  ...["setRoomVisibilityOnDirectory", "unban", "upgradeRoom"],
]);

interface Ask {
  readonly operation: Operation;
  readonly world: World;
  readonly client: TestClient;
  /** Somebody who is banned from the room. */
  readonly banned: string;
}

/** Sends an operation's requests as `client` about the world's room; each must be refused. */
async function mustRefuse({ operation, world, client, banned }: Ask): Promise<void> {
  const { id, method, path: template } = operation;
  const { alice, bob } = world;
  for (const good of goodRequests(operation, world)) {
    // Nobody may send a second one.
    if (good.params.eventType === "m.room.create" && method === "PUT") continue;
    const params: Record<string, string> = { ...good.params, roomIdOrAlias: world.ids.roomId };
    if (params.userId === alice.userId) params.userId = client.userId;
    const full = template.replace(/\{(\w+)\}/g, (_, name: string) => path`${params[name] ?? "x"}`);
    const { query } = good;
    // To put oneself out is to leave, and only who is banned can be let in again.
    const target = id === "unban" ? banned : alice.userId;
    const body = good.body?.user_id === bob.userId ? { ...good.body, user_id: target } : good.body;
    const answer = await client.request(method, full, { query, ...(body === undefined ? {} : { body }) });
    const shown = `${id} ${JSON.stringify(params.eventType)}: ${answer.status} ${JSON.stringify(answer.body)}`;
    assert.ok([403, 404].includes(answer.status), shown);
    assert.match(answer.body.errcode, /^M_(FORBIDDEN|NOT_FOUND)$/, shown);
  }
}

Deno.test("what is done in a room is refused to strangers, and to members without the power", async (t) => {
  await using database = await createTestDatabase(DIALECTS[0] ?? "sqlite");
  await using hs = await TestServer.start({ database });
  const world = await World.create(hs);
  const { alice, bob, ids: { roomId } } = world;
  const [mallory, { userId: banned }] = await hs.register("mallory", "troll");
  await alice.post(path`/rooms/${roomId}/ban`, { user_id: banned });
  await alice.setState(roomId, { type: "m.room.join_rules", content: { join_rule: "invite" } });
  await alice.setState(roomId, { type: "m.room.history_visibility", content: { history_visibility: "joined" } });
  const levels = await alice.state(roomId, { type: "m.room.power_levels" });
  const all = Object.fromEntries(["ban", "events_default", "invite", "kick", "redact"].map((key) => [key, 50]));
  await alice.setState(roomId, { type: "m.room.power_levels", content: { ...levels, ...all } });
  const ofRooms = OPERATIONS.filter(({ path }) => /\{roomId(OrAlias)?\}/.test(path));
  assert.ok(ofRooms.length > 45, `only ${ofRooms.length} operations are about rooms`);
  const { db } = hs.parts.core;
  const before = await readTables(db);
  for (const operation of ofRooms.filter(({ id }) => OPEN_TO_STRANGERS[id] === undefined)) {
    await t.step(`${operation.id} by a stranger`, () => mustRefuse({ operation, world, client: mallory, banned }));
  }
  const forPowerful = ofRooms.filter(({ id }) => NEED_POWER.has(id));
  assert.equal(forPowerful.length, NEED_POWER.size);
  for (const operation of forPowerful) {
    await t.step(`${operation.id} without power`, () => mustRefuse({ operation, world, client: bob, banned }));
  }
  const after = await readTables(db);
  for (const [name, rows] of before) assert.equal(after.get(name), rows, `the table ${name} changed`);
});
