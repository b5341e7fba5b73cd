/** Rooms with members on two servers: everything here goes through real TLS, signatures and databases on both sides. */
import assert from "node:assert/strict";
import { path } from "../harness/client.ts";
import type { UserId } from "../../src/protocol/ids.ts";
import { selectRemoteDeviceList } from "../../src/storage/remote_devices.ts";
import { type NetworkServer, testNetwork } from "./network.ts";

// deno-lint-ignore no-explicit-any -- answers are checked where they are used
type Json = any;

const timelineOf = (roomId: string) => (sync: Json): Json[] => sync.rooms?.join?.[roomId]?.timeline?.events ?? [];

function hasBody(roomId: string, body: string): (sync: Json) => boolean {
  return (sync) => timelineOf(roomId)(sync).some((event) => event.content?.body === body);
}

function isInvited(roomId: string): (sync: Json) => boolean {
  return (sync) => sync.rooms?.invite?.[roomId] !== undefined;
}

async function stateOf({ hs }: NetworkServer, roomId: string): Promise<Map<string, string>> {
  const head = await hs.parts.rooms.engine.head(roomId as never);
  assert.notEqual(head, null);
  const entries = await hs.parts.rooms.state.entries(head?.stateRoot ?? 0);
  return new Map(entries.map(({ event }) => [`${event.type}|${event.stateKey}`, event.eventId]));
}

for (const version of ["1", "6", "10", "12"]) {
  testNetwork(`a public room of version ${version} is joined from afar, and both sides talk`, async ({ servers }) => {
    const [one, two] = servers;
    const [alice] = await one.hs.register("alice");
    const [bob] = await two.hs.register("bob");
    const roomId = await alice.createRoom({ preset: "public_chat", room_version: version });
    await alice.sendText(roomId, "before");
    await bob.post(path`/join/${roomId}?via=${one.name}`);
    await alice.syncUntil((sync) => timelineOf(roomId)(sync).some((event) => event.state_key === bob.userId));
    await alice.sendText(roomId, "hello bob");
    await bob.syncUntil(hasBody(roomId, "hello bob"));
    await bob.sendText(roomId, "hello alice");
    await alice.syncUntil(hasBody(roomId, "hello alice"));
    assert.deepEqual(await stateOf(two, roomId), await stateOf(one, roomId));
  });
}

testNetwork("an invitation reaches a user of another server, who joins by it", async ({ servers: [one, two] }) => {
  const [alice] = await one.hs.register("alice");
  const [bob] = await two.hs.register("bob");
  const roomId = await alice.createRoom({
    preset: "private_chat",
    name: "Secret",
    invite: [bob.userId],
    is_direct: true,
  });
  const sync = await bob.syncUntil(isInvited(roomId));
  const shown: Json[] = sync.rooms.invite[roomId].invite_state.events;
  assert.equal(shown.find(({ type }) => type === "m.room.name")?.content.name, "Secret");
  const own = shown.find(({ type, state_key: key }) => type === "m.room.member" && key === bob.userId);
  assert.equal(own?.content.is_direct, true);
  await bob.post(path`/rooms/${roomId}/join`);
  await alice.sendText(roomId, "welcome");
  await bob.syncUntil(hasBody(roomId, "welcome"));
  assert.deepEqual(await stateOf(two, roomId), await stateOf(one, roomId));
});

testNetwork("an invitation is turned down, with and without the other server", async ({ servers: [one, two] }) => {
  const [alice] = await one.hs.register("alice");
  const [bob, carol] = await two.hs.register("bob", "carol");
  const roomId = await alice.createRoom({ preset: "private_chat", invite: [bob.userId, carol.userId] });
  await bob.syncUntil(isInvited(roomId));
  await carol.syncUntil(isInvited(roomId));
  await bob.leave(roomId);
  await alice.syncUntil((sync) =>
    timelineOf(roomId)(sync).some((event) => event.state_key === bob.userId && event.content.membership === "leave")
  );
  await bob.syncUntil((sync) => sync.rooms?.leave?.[roomId] !== undefined);
  await one.stop();
  await carol.leave(roomId);
  await carol.syncUntil((sync) => sync.rooms?.leave?.[roomId] !== undefined);
});

testNetwork("a kick and a rescinded invitation reach users of another server", async ({ servers: [one, two] }) => {
  const [alice] = await one.hs.register("alice");
  const [bob, carol] = await two.hs.register("bob", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat", invite: [carol.userId] });
  await carol.syncUntil(isInvited(roomId));
  await alice.post(path`/rooms/${roomId}/kick`, { user_id: carol.userId });
  await carol.syncUntil((sync) => sync.rooms?.leave?.[roomId] !== undefined);
  await bob.post(path`/join/${roomId}?via=${one.name}`);
  await bob.syncUntil((sync) => sync.rooms?.join?.[roomId] !== undefined);
  await alice.post(path`/rooms/${roomId}/kick`, { user_id: bob.userId });
  await bob.syncUntil((sync) => sync.rooms?.leave?.[roomId] !== undefined);
  await bob.post(path`/join/${roomId}?via=${one.name}`);
  await alice.sendText(roomId, "back again");
  await bob.syncUntil(hasBody(roomId, "back again"));
});

testNetwork("a knock is answered with an invitation", async ({ servers: [one, two] }) => {
  const [alice] = await one.hs.register("alice");
  const [bob] = await two.hs.register("bob");
  const roomId = await alice.createRoom({
    room_version: "10",
    initial_state: [{ type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } }],
  });
  await bob.post(path`/knock/${roomId}?via=${one.name}`, { reason: "please" });
  await bob.syncUntil((sync) => sync.rooms?.knock?.[roomId] !== undefined);
  await alice.syncUntil((sync) =>
    timelineOf(roomId)(sync).some((event) => event.content.membership === "knock" && event.content.reason === "please")
  );
  await alice.invite(roomId, bob.userId);
  await bob.syncUntil(isInvited(roomId));
  await bob.post(path`/rooms/${roomId}/join`);
  await alice.syncUntil((sync) =>
    timelineOf(roomId)(sync).some((event) => event.content.membership === "join" && event.state_key === bob.userId)
  );
});

testNetwork(
  "what was sent while a server was down reaches it, also across a restart of the sender",
  async ({ servers }) => {
    const [one, two] = servers;
    const [alice] = await one.hs.register("alice");
    const [bob] = await two.hs.register("bob");
    const roomId = await alice.createRoom({ preset: "public_chat" });
    await bob.post(path`/join/${roomId}?via=${one.name}`);
    await one.restart();
    const again = one.hs.again(alice);
    await again.sendText(roomId, "after the restart");
    await bob.syncUntil(hasBody(roomId, "after the restart"));
  },
);

testNetwork("typing, receipts, and messages to devices cross servers", async ({ servers: [one, two] }) => {
  const [alice] = await one.hs.register("alice");
  const [bob] = await two.hs.register("bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const eventId = await alice.sendText(roomId, "read me");
  await bob.post(path`/join/${roomId}?via=${one.name}`);
  await alice.put(path`/rooms/${roomId}/typing/${alice.userId}`, { typing: true, timeout: 20_000 });
  const ephemeral = (sync: Json): Json[] => sync.rooms?.join?.[roomId]?.ephemeral?.events ?? [];
  await bob.syncUntil((sync) =>
    ephemeral(sync).some(({ type, content }) => type === "m.typing" && content.user_ids.includes(alice.userId))
  );
  await bob.sendText(roomId, "mine");
  await alice.syncUntil(hasBody(roomId, "mine"));
  await alice.post(path`/rooms/${roomId}/receipt/m.read/${eventId}`, {});
  await bob.syncUntil((sync) =>
    ephemeral(sync).some(({ type, content }) => type === "m.receipt" && content[eventId]?.["m.read"]?.[alice.userId])
  );
  await alice.put(path`/sendToDevice/org.example.type/txn1`, {
    messages: { [bob.userId]: { "*": { secret: 42 } } },
  });
  const sync = await bob.syncUntil((answer) => (answer.to_device?.events ?? []).length > 0);
  assert.deepEqual(sync.to_device.events, [
    { type: "org.example.type", sender: alice.userId, content: { secret: 42 } },
  ]);
});

testNetwork("history from before a join is fetched when it is asked for", async ({ servers: [one, two] }) => {
  const [alice] = await one.hs.register("alice");
  const [bob] = await two.hs.register("bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  for (let index = 0; index < 150; index++) await alice.sendText(roomId, `message ${index}`);
  await alice.setState(roomId, { type: "m.room.topic", content: { topic: "half" } });
  await bob.post(path`/join/${roomId}?via=${one.name}`);
  const texts: string[] = [];
  let types: string[] = [];
  let from: string | null = null;
  do {
    const page: Json = await bob.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: "60", ...(from && { from }) });
    for (const { type, content } of page.chunk) if (type === "m.room.message") texts.push(content.body);
    types = [...types, ...page.chunk.map(({ type }: Json) => type)];
    from = page.chunk.length === 0 ? null : page.end ?? null;
  } while (from !== null);
  assert.deepEqual(texts, Array.from({ length: 150 }, (_, index) => `message ${149 - index}`));
  assert.equal(types.at(-1), "m.room.create");
  assert.deepEqual(await stateOf(two, roomId), await stateOf(one, roomId));
});

testNetwork("a file is fetched from the server it was uploaded to, with its name", async ({ servers: [one, two] }) => {
  const [alice] = await one.hs.register("alice");
  const [bob] = await two.hs.register("bob");
  const bytes = new Uint8Array(300_000).map((_, index) => index % 251);
  const upload = await fetch(`${one.hs.base}/_matrix/media/v3/upload?filename=${encodeURIComponent("größe.bin")}`, {
    method: "POST",
    headers: { authorization: `Bearer ${alice.accessToken}`, "content-type": "application/x-test" },
    body: bytes,
  });
  const { content_uri: uri } = await upload.json();
  const place = uri.slice("mxc://".length);
  const headers = { authorization: `Bearer ${bob.accessToken}` };
  const found = await fetch(`${two.hs.base}/_matrix/client/v1/media/download/${place}`, { headers });
  assert.equal(found.status, 200);
  assert.deepEqual(new Uint8Array(await found.arrayBuffer()), bytes);
  assert.match(found.headers.get("content-disposition") ?? "", /gr%C3%B6%C3%9Fe\.bin/);
  const absent = `${two.hs.base}/_matrix/client/v1/media/download/${one.name}/absent`;
  const missing = await fetch(absent, { headers });
  assert.equal(missing.status, 404);
  assert.equal((await missing.json()).errcode, "M_NOT_FOUND");
});

testNetwork("a space shows the rooms of its members' servers", async ({ servers: [one, two] }) => {
  const [alice] = await one.hs.register("alice");
  const [bob] = await two.hs.register("bob");
  const open = await bob.createRoom({ preset: "public_chat", name: "Open" });
  const closed = await bob.createRoom({ preset: "private_chat", name: "Closed" });
  const inner = await bob.createRoom({ preset: "public_chat", creation_content: { type: "m.space" } });
  const outer = await alice.createRoom({ preset: "public_chat", creation_content: { type: "m.space" } });
  const content = { via: [two.name] };
  await bob.setState(inner, { type: "m.space.child", stateKey: open, content });
  await bob.setState(inner, { type: "m.space.child", stateKey: closed, content });
  await alice.setState(outer, { type: "m.space.child", stateKey: inner, content });
  const { rooms } = await alice.get(path`/_matrix/client/v1/rooms/${outer}/hierarchy`);
  assert.deepEqual(rooms.map(({ room_id: id }: Json) => id), [outer, inner, open]);
  assert.equal(rooms[2].name, "Open");
});

testNetwork("keys of users of another server are found, claimed once, and their changes told", async ({ servers }) => {
  const [one, two] = servers;
  const [alice] = await one.hs.register("alice");
  const [bob] = await two.hs.register("bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.post(path`/join/${roomId}?via=${one.name}`);
  await bob.sync();
  const keysOf = (name: string) => ({
    user_id: alice.userId,
    device_id: alice.deviceId,
    algorithms: ["m.olm.v1.curve25519-aes-sha2"],
    keys: { [`ed25519:${alice.deviceId}`]: name },
    signatures: { [alice.userId]: { [`ed25519:${alice.deviceId}`]: "sig" } },
  });
  const oneTime = { "signed_curve25519:AAAA": { key: "one", signatures: {} } };
  await alice.post("/keys/upload", { device_keys: keysOf("first"), one_time_keys: oneTime });
  const isChanged = (sync: Json) => (sync.device_lists?.changed ?? []).includes(alice.userId);
  await bob.syncUntil(isChanged);
  const query = async () => {
    const answer = await bob.post("/keys/query", { device_keys: { [alice.userId]: [] } });
    assert.deepEqual(answer.failures, {});
    return answer.device_keys[alice.userId]?.[alice.deviceId]?.keys?.[`ed25519:${alice.deviceId}`];
  };
  assert.equal(await query(), "first");
  const claim = async () =>
    (await bob.post("/keys/claim", {
      one_time_keys: { [alice.userId]: { [alice.deviceId]: "signed_curve25519" } },
    })).one_time_keys;
  assert.deepEqual((await claim())[alice.userId], { [alice.deviceId]: oneTime });
  assert.deepEqual((await claim())[alice.userId] ?? {}, {});
  await alice.post("/keys/upload", { device_keys: keysOf("second") });
  await bob.syncUntil(isChanged);
  assert.equal(await query(), "second");
});

testNetwork(
  "keys of users whom nobody shares a room with any more are fetched again",
  async ({ servers: [one, two] }) => {
    const [alice] = await one.hs.register("alice");
    const [bob] = await two.hs.register("bob");
    const roomId = await alice.createRoom({ preset: "public_chat" });
    const isStale = async () => (await selectRemoteDeviceList(two.hs.parts.core.db, alice.userId as UserId))?.isStale;
    const query = () => bob.post("/keys/query", { device_keys: { [alice.userId]: [] } });
    await bob.post(path`/join/${roomId}?via=${one.name}`);
    await query();
    assert.equal(await isStale(), false);
    await bob.post(path`/rooms/${roomId}/leave`);
    assert.equal(await isStale(), true, "when our last user leaves");
    await bob.post(path`/join/${roomId}?via=${one.name}`);
    await query();
    assert.equal(await isStale(), false);
    await bob.sync();
    await alice.post(path`/rooms/${roomId}/leave`);
    await bob.syncUntil((sync: Json) => (sync.device_lists?.left ?? []).includes(alice.userId));
    assert.equal(await isStale(), true, "when they leave");
  },
);

testNetwork("profiles, aliases and public rooms of another server are looked up", async ({ servers: [one, two] }) => {
  const [alice] = await one.hs.register("alice");
  const [bob] = await two.hs.register("bob");
  await alice.put(path`/profile/${alice.userId}/displayname`, { displayname: "Alice A." });
  const options = { preset: "public_chat", visibility: "public", room_alias_name: "here", name: "Here" };
  const roomId = await alice.createRoom(options);
  assert.deepEqual(await bob.get(path`/profile/${alice.userId}`), { displayname: "Alice A." });
  const found = await bob.get(path`/directory/room/${`#here:${one.name}`}`);
  assert.equal(found.room_id, roomId);
  assert.ok(found.servers.includes(one.name));
  const list = await bob.get("/publicRooms", { server: one.name });
  assert.deepEqual(list.chunk.map(({ room_id: id }: Json) => id), [roomId]);
  await bob.post(path`/join/${`#here:${one.name}`}`);
  await bob.fails("GET", path`/directory/room/${`#nowhere:${one.name}`}`, { status: 404, errcode: "M_NOT_FOUND" });
});

testNetwork("push rules of a replaced room go with those who join its successor elsewhere", async ({ servers }) => {
  const [one, two] = servers;
  const [alice] = await one.hs.register("alice");
  const [bob] = await two.hs.register("bob");
  const roomId = await alice.createRoom({ preset: "public_chat", room_version: "10" });
  await bob.post(path`/join/${roomId}?via=${one.name}`);
  await bob.put(path`/pushrules/global/room/${roomId}`, { actions: [] });
  const { replacement_room: newRoomId } = await alice.post(path`/rooms/${roomId}/upgrade`, { new_version: "11" });
  await bob.syncUntil((sync) => timelineOf(roomId)(sync).some(({ type }) => type === "m.room.tombstone"));
  await bob.post(path`/join/${newRoomId}?via=${one.name}`);
  const ruleIds = (sync: Json): string[] =>
    (sync.account_data?.events ?? []).filter(({ type }: Json) => type === "m.push_rules")
      .flatMap(({ content }: Json) => content.global.room.map(({ rule_id: id }: Json) => id));
  await bob.syncUntil((sync) => ruleIds(sync).includes(roomId) && ruleIds(sync).includes(newRoomId));
});

testNetwork("an event from before the join is found by its time", async ({ servers: [one, two] }) => {
  const [alice] = await one.hs.register("alice");
  const [bob] = await two.hs.register("bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const old = await alice.sendText(roomId, "old");
  const { origin_server_ts: ts } = await alice.get(path`/rooms/${roomId}/event/${old}`);
  await bob.post(path`/join/${roomId}?via=${one.name}`);
  const at = (dir: string, time: number) =>
    bob.get(path`/_matrix/client/v1/rooms/${roomId}/timestamp_to_event`, { dir, ts: String(time) });
  assert.deepEqual(await at("f", ts), { event_id: old, origin_server_ts: ts });
  assert.equal((await bob.get(path`/rooms/${roomId}/context/${old}`)).event.content.body, "old");
  await bob.fails("GET", path`/_matrix/client/v1/rooms/${roomId}/timestamp_to_event?dir=b&ts=1`, {
    status: 404,
    errcode: "M_NOT_FOUND",
  });
});
