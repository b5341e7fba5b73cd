/** The server is killed in each of the transactions of the long work of administrators: what was begun is finished, once. */
import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { openDatabase } from "../../src/storage/open_database.ts";
import { sql } from "../../src/storage/sql.ts";
import { parseServerName } from "../../src/protocol/ids.ts";
import { type Account, Caller, type Json, path, TestClient } from "../harness/client.ts";
import type { TestDatabase } from "../harness/databases.ts";
import { RunningProcess } from "../harness/process.ts";
import { tablesOfRoom } from "../harness/room_rows.ts";
import { testEachServer } from "../harness/server.ts";
import { CA_PATH } from "./certificates.ts";

const CHILD = new URL("sender_child.ts", import.meta.url).pathname;
const PASSWORD = "correct horse battery staple";
const USERS = 6;
const MESSAGES = 250;
/** More than it takes. */
const MAX_KILLS = 60;
const RUNNING: ReadonlySet<string> = new Set(["scheduled", "active"]);

interface World {
  readonly database: TestDatabase;
  readonly http: Deno.HttpClient;
  /** Starts the server and returns what `use` does with it; null when it died meanwhile. */
  run<T>(dieIn: number, use: (base: string) => Promise<T>): Promise<T | null>;
}

async function inWorld(database: TestDatabase, body: (world: World) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-kill-" });
  const key = `ed25519 a_test ${randomBytes(32).toString("base64").replace(/=+$/, "")}`;
  const args = [JSON.stringify(database.options), key, folder, CA_PATH];
  using http = Deno.createHttpClient({});
  async function run<T>(dieIn: number, use: (base: string) => Promise<T>): Promise<T | null> {
    await using child = new RunningProcess(Deno.execPath(), {
      args: ["run", "--no-check", "-A", "--quiet", CHILD, ...args, String(dieIn)],
    });
    const work = async () => {
      const [, base = ""] = await child.waitFor(/listens on (\S+)/, { timeoutMs: 60_000 });
      return await use(base);
    };
    const died = child.exited.then(() => null);
    return await Promise.race([died, work().catch(async (error) => dieIn > 0 ? await died : Promise.reject(error))]);
  }
  try {
    await body({ database, http, run });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function accountOf({ user_id: userId, device_id: deviceId, access_token: accessToken }: Json): Account {
  return { userId, deviceId, accessToken, password: PASSWORD };
}

async function registerAdmin(caller: Caller): Promise<Account> {
  const { nonce } = await caller.get("/_synapse/admin/v1/register");
  const mac = createHmac("sha1", "test-shared-secret").update([nonce, "admin", PASSWORD, "admin"].join("\0"));
  const body = { nonce, username: "admin", password: PASSWORD, admin: true, mac: mac.digest("hex") };
  return accountOf(await caller.post("/_synapse/admin/v1/register", body));
}

async function registerAll(base: string, http: Deno.HttpClient): Promise<[TestClient, ...TestClient[]]> {
  const caller = new Caller(base, { http, accessToken: null });
  const admin = new TestClient(base, { http, account: await registerAdmin(caller) });
  const users: TestClient[] = [];
  for (let index = 0; index < USERS; index++) {
    const body = { username: `user${index}`, password: PASSWORD, auth: { type: "m.login.dummy" } };
    users.push(new TestClient(base, { http, account: accountOf(await caller.post("/register", body)) }));
  }
  return [admin, ...users];
}

function again(client: TestClient, { base, http }: { base: string; http: Deno.HttpClient }): TestClient {
  return new TestClient(base, { http, account: { ...client, accessToken: client.accessToken ?? "" } });
}

async function ended(ask: () => Promise<Json>): Promise<Json> {
  while (true) {
    const answer = await ask();
    if (!RUNNING.has(answer.status)) return answer;
  }
}

/** Runs it again and again, killed `step` transactions later each time, until it comes to its end. */
async function untilDone<T>(
  { run }: World,
  { step, use }: { step: number; use: (base: string) => Promise<T> },
): Promise<T> {
  for (let kills = 0; kills < MAX_KILLS; kills++) {
    const result = await run(step * kills + 1, use);
    if (result === null) continue;
    assert.ok(kills > 1, `it was done after ${kills} starts`);
    return result;
  }
  assert.fail("It never ends");
}

testEachServer("a room is deleted by a server that is killed again and again", async (database) => {
  await inWorld(database, async (world) => {
    const { http, run } = world;
    const made = await run(0, async (base) => {
      const [admin, alice, ...others] = await registerAll(base, http);
      assert.ok(alice);
      const roomId = await alice.createRoom({ preset: "public_chat", room_alias_name: "old" });
      for (const user of others) await user.join(roomId);
      for (let index = 0; index < 20; index++) await alice.sendText(roomId, `message ${index}`);
      return { admin, users: [alice, ...others], roomId };
    });
    assert(made !== null);
    const { admin, users, roomId } = made;
    const roomNid = await nidOf(database, roomId);
    const target = path`/_synapse/admin/v2/rooms/${roomId}`;
    let isAcknowledged = false;
    const use = async (base: string) => {
      const client = again(admin, { base, http });
      const known = await client.request("GET", `${target}/delete_status`);
      if (known.status !== 200) {
        assert.ok(!isAcknowledged, "an acknowledged deletion is forgotten");
        const body = { new_room_user_id: admin.userId, room_name: "Sorry", message: "It is gone" };
        await client.delete(target, body);
      }
      isAcknowledged = true;
      return await ended(async () => (await client.get(`${target}/delete_status`)).results[0]);
    };
    const final = await untilDone(world, { step: 3, use });
    const userIds = users.map(({ userId }) => userId).sort();
    assert.equal(final.status, "complete", JSON.stringify(final));
    const { kicked_users: kicked, new_room_id: newRoomId, ...rest } = final.shutdown_room;
    assert.deepEqual(kicked, userIds);
    assert.deepEqual(rest, { failed_to_kick_users: [], local_aliases: ["#old:hs.test"] });
    await run(0, async (base) => {
      const client = again(admin, { base, http });
      const { rooms } = await client.get("/_synapse/admin/v1/rooms");
      assert.deepEqual(rooms.map((room: Json) => [room.room_id, room.joined_members]), [[newRoomId, USERS + 1]]);
      const { chunk } = await client.get(path`/rooms/${newRoomId}/messages`, { dir: "f", limit: 100 });
      const said = chunk.filter(({ type }: Json) => type === "m.room.message").map(({ content }: Json) => content.body);
      assert.deepEqual(said, ["It is gone"]);
      assert.equal((await client.get(path`/directory/room/${"#old:hs.test"}`)).room_id, newRoomId);
    });
    const db = await openDatabase(database.options, { serverName: nameOf() });
    assert.deepEqual(await tablesOfRoom(db, { roomNid, roomId }), []);
    await db[Symbol.asyncDispose]();
  });
});

testEachServer("the history of a room is deleted by a server that is killed again and again", async (database) => {
  await inWorld(database, async (world) => {
    const { http, run } = world;
    const made = await run(0, async (base) => {
      const [admin, alice] = await registerAll(base, http);
      assert.ok(alice);
      const roomId = await alice.createRoom();
      for (let index = 0; index < MESSAGES; index++) await alice.sendText(roomId, `message ${index}`);
      return { admin, alice, roomId, last: await alice.sendText(roomId, "stays") };
    });
    assert(made !== null);
    const { admin, alice, roomId, last } = made;
    let purgeId: string | null = null;
    const use = async (base: string) => {
      const client = again(admin, { base, http });
      const body = { delete_local_events: true, purge_up_to_event_id: last };
      purgeId ??= (await client.post(path`/_synapse/admin/v1/purge_history/${roomId}`, body)).purge_id as string;
      return await ended(() => client.get(`/_synapse/admin/v1/purge_history_status/${purgeId}`));
    };
    const final = await untilDone(world, { step: 1, use });
    assert.deepEqual(final, { status: "complete" });
    await run(0, async (base) => {
      const client = again(alice, { base, http });
      const { chunk } = await client.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 500 });
      const said = chunk.filter(({ type }: Json) => type === "m.room.message").map(({ content }: Json) => content.body);
      assert.deepEqual(said, ["stays"]);
      await client.sendText(roomId, "goes on");
    });
  });
});

function nameOf(): NonNullable<ReturnType<typeof parseServerName>> {
  const name = parseServerName("hs.test");
  assert(name !== null);
  return name;
}

async function nidOf(database: TestDatabase, roomId: string): Promise<number> {
  await using db = await openDatabase(database.options, { serverName: nameOf() });
  const row = await db.get<{ room_nid: number }>(sql`SELECT room_nid FROM rooms WHERE room_id = ${roomId}`);
  assert(row !== null);
  return row.room_nid;
}
