/** `limit_remote_rooms`: which rooms of other servers are joined, and how big our own are said to be. */
import assert from "node:assert/strict";
import { MatrixError } from "../../src/protocol/errors.ts";
import { path, type TestClient } from "../harness/client.ts";
import { testEachServer } from "../harness/server.ts";
import { testConfiguredNetwork } from "./network.ts";
import { enc, startResident } from "./resident.ts";

const TOLD = { status: 400, errcode: "M_RESOURCE_LIMIT_EXCEEDED" };

async function grow(alice: TestClient, room: string): Promise<void> {
  for (let index = 0; index < 20; index++) {
    await alice.setState(room, { type: "org.example.more", stateKey: `${index}`, content: {} });
  }
}

const limit = { enabled: true, complexity: 0.03, complexity_error: "Too big for us", admins_can_join: true };

testConfiguredNetwork(
  { name: "limit_remote_rooms keeps users out of big rooms", config: { limit_remote_rooms: limit } },
  async ({ servers: [one, two] }) => {
    const [alice] = await one.hs.register("alice");
    const [bob] = await two.hs.register("bob");
    const admin = await two.hs.registerAdmin("admin");
    const small = await alice.createRoom({ preset: "public_chat" });
    await bob.post(path`/join/${small}?via=${one.name}`);
    const big = await alice.createRoom({ preset: "public_chat" });
    await grow(alice, big);
    const refused = await bob.fails("POST", path`/join/${big}?via=${one.name}`, TOLD);
    assert.equal(refused.error, "Too big for us");
    const { joined } = await alice.get(path`/rooms/${big}/joined_members`);
    assert.deepEqual(Object.keys(joined), [alice.userId], "nothing was joined");
    // While the members are not here the next one is let in by the other server too.
    one.hs.parts.federationRooms.reads.stateIds = () => Promise.reject(new MatrixError(503, "M_UNKNOWN", "Not now"));
    await admin.post(path`/join/${big}?via=${one.name}`);
    await bob.post(path`/join/${big}?via=${one.name}`);
    const { joined: inside } = await alice.get(path`/rooms/${big}/joined_members`);
    assert.deepEqual(Object.keys(inside).sort(), [alice.userId, admin.userId, bob.userId].sort());
  },
);

testConfiguredNetwork(
  { name: "a big room that no server tells about is left again", config: { limit_remote_rooms: limit } },
  async ({ servers: [one, two] }) => {
    const [alice] = await one.hs.register("alice");
    const [bob] = await two.hs.register("bob");
    const room = await alice.createRoom({ preset: "private_chat", invite: [bob.userId] });
    await grow(alice, room);
    await bob.syncUntil((sync) => sync.rooms?.invite?.[room] !== undefined);
    await bob.fails("POST", path`/rooms/${room}/join`, TOLD);
    assert.deepEqual((await bob.get("/joined_rooms")).joined_rooms, []);
  },
);

testEachServer("servers are told how complex public rooms are, and of no others", async (database) => {
  await using resident = await startResident(database);
  const { hs, ask } = resident;
  const [alice] = await hs.register("alice");
  const open = await alice.createRoom({ preset: "public_chat" });
  const closed = await alice.createRoom({ preset: "private_chat" });
  await grow(alice, open);
  const target = (room: string) => `/unstable/rooms/${enc(room)}/complexity`;
  const state: unknown[] = await alice.get(path`/rooms/${open}/state`);
  assert.deepEqual((await ask(target(open))).body, { v1: Math.round(state.length / 5) / 100 });
  for (const room of [closed, "!unknown:hs.test"]) {
    const { status, body } = await ask(target(room));
    assert.deepEqual([status, body.errcode], [404, "M_NOT_FOUND"]);
  }
  await alice.setState(open, {
    type: "m.room.server_acl",
    stateKey: "",
    content: { allow: ["hs.test"], allow_ip_literals: true },
  });
  const { status, body } = await ask(target(open));
  assert.deepEqual([status, body.errcode], [403, "M_FORBIDDEN"]);
  const unsigned = await fetch(`${hs.base}/_matrix/federation${target(open)}`);
  assert.equal(unsigned.status, 401);
  await unsigned.body?.cancel();
});
