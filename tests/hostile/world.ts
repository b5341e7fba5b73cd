/** What hostile requests are about: users in a room with a history, real ids, and a way back when they break it. */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import type { TestServer } from "../harness/server.ts";

const V1 = "/_matrix/client/v1";

/** The ids that requests use. */
export interface Ids {
  readonly roomId: string;
  readonly alias: string;
  readonly eventId: string;
  readonly since: string;
  readonly backupVersion: string;
  readonly filterId: string;
  readonly mediaId: string;
  /** In the thread of `eventId`. */
  readonly replyId: string;
  /** A room of Bob's that Alice may ask to enter. */
  readonly knockRoomId: string;
  /** Of the sliding sync connection `other`. */
  readonly slidingPos: string;
}

const BACKUP = "m.megolm_backup.v1.curve25519-aes-sha2";
const SLIDING_SYNC = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
let worlds = 0;

/** Two users and their room. Requests may destroy all of it: `restore` makes what is broken again. */
export class World {
  readonly #hs: TestServer;
  readonly #name: string;
  #generation = 0;
  #probes = 0;
  readonly admin: TestClient;
  alice: TestClient;
  bob: TestClient;
  ids: Ids;

  private constructor(
    hs: TestServer,
    name: string,
    { admin, alice, bob, ids }: Pick<World, "admin" | "alice" | "bob" | "ids">,
  ) {
    this.#hs = hs;
    this.#name = name;
    this.admin = admin;
    this.alice = alice;
    this.bob = bob;
    this.ids = ids;
  }

  /** Makes users and a room with a history. */
  static async create(hs: TestServer): Promise<World> {
    const name = `w${worlds++}`;
    const [alice, bob] = await hs.register(`alice.${name}`, `bob.${name}`);
    const admin = await hs.registerAdmin(`admin.${name}`);
    return new World(hs, name, { admin, alice, bob, ids: await makeRoom(alice, { bob, alias: name }) });
  }

  /** Makes users and room again when the ones at hand are no longer of use. */
  async restore(): Promise<void> {
    const { roomId } = this.ids;
    const probe = { body: { probe: this.#probes++ } };
    const topic = await this.alice.request("PUT", path`/rooms/${roomId}/state/org.example.probe/`, probe);
    if (topic.status === 200) {
      const joined = await this.bob.request("POST", path`/join/${roomId}`, { body: {} });
      if (joined.status === 200) return;
    }
    const name = `${this.#name}.${this.#generation++}`;
    if (!await canAct(this.alice)) [this.alice] = await this.#hs.register(`alice.${name}`);
    if (!await canAct(this.bob)) [this.bob] = await this.#hs.register(`bob.${name}`);
    this.ids = await makeRoom(this.alice, { bob: this.bob, alias: name });
  }
}

/** Tells whether a user is neither logged out nor locked nor suspended. */
async function canAct(client: TestClient): Promise<boolean> {
  return (await client.request("POST", "/createRoom", { body: {} })).status === 200;
}

async function makeRoom(alice: TestClient, { bob, alias }: { bob: TestClient; alias: string }): Promise<Ids> {
  const roomId = await alice.createRoom({ preset: "public_chat", room_alias_name: alias, name: "A room" });
  await bob.join(roomId);
  const eventId = await alice.sendText(roomId, "hello");
  const relation = { rel_type: "m.thread", event_id: eventId };
  const content = { body: "in thread", "m.relates_to": relation };
  const replyId = await bob.send(roomId, { type: "m.room.message", content });
  const knock = { type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } };
  const knockRoomId = await bob.createRoom({ initial_state: [knock] });
  const { pos } = await alice.ok("POST", `${SLIDING_SYNC}?timeout=0`, { body: { conn_id: "other" } });
  const { filter_id } = await alice.post(path`/user/${alice.userId}/filter`, { room: { timeline: { limit: 5 } } });
  const { version } = await alice.post("/room_keys/version", { algorithm: BACKUP, auth_data: { public_key: "x" } });
  const { content_uri } = await alice.ok("POST", "/_matrix/media/v3/upload?filename=a.txt", {
    body: "text",
    headers: { "content-type": "text/plain" },
  });
  const { next_batch } = await alice.get("/sync", { timeout: 0 });
  return {
    roomId,
    ...{ eventId, replyId, knockRoomId, slidingPos: pos },
    alias: `#${alias}:${alice.userId.split(":")[1]}`,
    since: next_batch,
    backupVersion: version,
    filterId: filter_id,
    mediaId: content_uri.split("/").at(-1),
  };
}

/** Uses the server as a well-behaved client does, with users who know nothing of what happened, and with those who do. */
export async function proveUsable(
  hs: TestServer,
  { name, worlds }: { name: string; worlds: readonly World[] },
): Promise<void> {
  const [carol, dave] = await hs.register(`carol.${name}`, `dave.${name}`);
  const roomId = await carol.createRoom({ preset: "public_chat", name });
  await dave.join(roomId);
  const eventId = await carol.sendText(roomId, "still here");
  await dave.syncUntil((response: Json) => response.rooms?.join?.[roomId] !== undefined);
  assert.equal((await dave.get(path`/rooms/${roomId}/event/${eventId}`)).content.body, "still here");
  await proveIndexed(carol, { word: "here", eventId, user: dave });
  for (const client of worlds.flatMap(({ alice, bob }) => [alice, bob])) await readEverything(hs, client);
}

/** The workers that follow all events must have come past what hostile ones hold. */
async function proveIndexed(
  client: TestClient,
  { word, eventId, user }: { word: string; eventId: string; user: TestClient },
): Promise<void> {
  const criteria = { search_categories: { room_events: { search_term: word, order_by: "recent" } } };
  const { search_categories: { room_events: { results } } } = await client.post("/search", criteria);
  assert.ok(results.some(({ result }: Json) => result.event_id === eventId), "the message is not found");
  const [, localpart = ""] = /^@([^:]+)/.exec(user.userId) ?? [];
  const found = await client.post("/user_directory/search", { search_term: localpart });
  assert.ok(found.results.some((one: Json) => one.user_id === user.userId), "the user is not found");
}

async function readEverything(hs: TestServer, client: TestClient): Promise<void> {
  const again = hs.again(client);
  const { rooms } = await again.get("/sync", { timeout: 0, full_state: true });
  await again.get("/pushrules/");
  await again.get("/devices");
  await again.post("/keys/query", { device_keys: { [client.userId]: [] } });
  await again.request("GET", path`/profile/${client.userId}`);
  for (const roomId of Object.keys(rooms?.join ?? {})) {
    for (const what of ["state", "members", "joined_members", "messages?dir=b&limit=100"]) {
      await again.ok("GET", path`/rooms/${roomId}/` + what);
    }
    await again.ok("GET", V1 + path`/rooms/${roomId}/hierarchy`);
  }
}
