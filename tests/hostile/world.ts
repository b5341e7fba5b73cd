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
}

const BACKUP = "m.megolm_backup.v1.curve25519-aes-sha2";
let worlds = 0;

/** Two users and their room. Requests may destroy all of it: `restore` makes what is broken again. */
export class World {
  readonly #hs: TestServer;
  readonly #name: string;
  #generation = 0;
  alice: TestClient;
  bob: TestClient;
  ids: Ids;

  private constructor(
    hs: TestServer,
    name: string,
    { alice, bob, ids }: { alice: TestClient; bob: TestClient; ids: Ids },
  ) {
    this.#hs = hs;
    this.#name = name;
    this.alice = alice;
    this.bob = bob;
    this.ids = ids;
  }

  /** Makes users and a room with a history. */
  static async create(hs: TestServer): Promise<World> {
    const name = `w${worlds++}`;
    const [alice, bob] = await hs.register(`alice.${name}`, `bob.${name}`);
    return new World(hs, name, { alice, bob, ids: await makeRoom(alice, { bob, alias: name }) });
  }

  /** Makes users and room again when the ones at hand are no longer of use. */
  async restore(): Promise<void> {
    const { alice, bob, ids: { roomId } } = this;
    const [her, his] = await Promise.all([isWhole(alice), isWhole(bob)]);
    const topic = path`/rooms/${roomId}/state/org.example.probe/`;
    if (her && his && (await alice.request("PUT", topic, { body: {} })).status === 200) {
      if ((await bob.request("POST", path`/join/${roomId}`, { body: {} })).status === 200) return;
    }
    const name = `${this.#name}.${this.#generation++}`;
    if (!her) [this.alice] = await this.#hs.register(`alice.${name}`);
    if (!his) [this.bob] = await this.#hs.register(`bob.${name}`);
    this.ids = await makeRoom(this.alice, { bob: this.bob, alias: name });
  }
}

async function isWhole(client: TestClient): Promise<boolean> {
  const { status, body } = await client.request("GET", "/account/whoami");
  return status === 200 && body.user_id === client.userId;
}

async function makeRoom(alice: TestClient, { bob, alias }: { bob: TestClient; alias: string }): Promise<Ids> {
  const roomId = await alice.createRoom({ preset: "public_chat", room_alias_name: alias, name: "A room" });
  await bob.join(roomId);
  const eventId = await alice.sendText(roomId, "hello");
  const relation = { rel_type: "m.thread", event_id: eventId };
  await bob.send(roomId, { type: "m.room.message", content: { body: "in thread", "m.relates_to": relation } });
  const { filter_id } = await alice.post(path`/user/${alice.userId}/filter`, { room: { timeline: { limit: 5 } } });
  const { version } = await alice.post("/room_keys/version", { algorithm: BACKUP, auth_data: { public_key: "x" } });
  const { content_uri } = await alice.ok("POST", "/_matrix/media/v3/upload?filename=a.txt", {
    body: "text",
    headers: { "content-type": "text/plain" },
  });
  const { next_batch } = await alice.get("/sync", { timeout: 0 });
  return {
    roomId,
    eventId,
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
