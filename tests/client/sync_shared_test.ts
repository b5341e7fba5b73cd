/**
 * What the server makes once for all who wait must be what it tells each of them alone.
 *
 * Everybody who watches has three devices: one that waits, one that asks afterwards, and one that asks for all fields of
 * events by name, for which nothing is shared. Spec: client-server API, "Syncing".
 */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const FIELDS = ["content", "event_id", "origin_server_ts", "redacts", "sender", "state_key", "type", "unsigned"];

interface Watcher {
  readonly name: string;
  readonly devices: { readonly waiting: TestClient; readonly asking: TestClient; readonly alone: TestClient };
  readonly room: Json;
  readonly query: Readonly<Record<string, string | boolean>>;
}

async function watcher(
  user: TestClient,
  { name, room = {}, query = {} }: { name: string; room?: Json; query?: Watcher["query"] },
): Promise<Watcher> {
  const devices = {
    waiting: await user.anotherDevice(),
    asking: await user.anotherDevice(),
    alone: await user.anotherDevice(),
  };
  const watching = { name, devices, room, query };
  for (const device of ["waiting", "asking", "alone"] as const) await ask(watching, { device });
  return watching;
}

/** Syncs and returns the rooms of the answer. */
async function ask(
  { room, query, devices }: Watcher,
  { device, timeout = 0 }: { device: keyof Watcher["devices"]; timeout?: number },
): Promise<Json> {
  const filter = { room, presence: { not_types: ["*"] }, ...(device === "alone" ? { event_fields: FIELDS } : {}) };
  const { rooms } = await devices[device].sync({ ...query, timeout, filter: JSON.stringify(filter) });
  return rooms;
}

/** Waits until something is told of rooms, or until there is nothing more to come. */
async function wait(watching: Watcher, ending: { isOver: boolean }): Promise<Json> {
  while (true) {
    const rooms = await ask(watching, { device: "waiting", timeout: 20_000 });
    if (rooms !== undefined || ending.isOver) return rooms;
  }
}

/** The time since an event was sent is another with every answer. */
function withoutAge(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutAge);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => key !== "age").map((
    [key, child],
  ) => [key, withoutAge(child)]);
  return Object.fromEntries(entries);
}

/** Does something that is one step of a stream, and compares what each device is told of it. */
async function compare(
  watchers: readonly Watcher[],
  { name, act }: { name: string; act: () => Promise<unknown> },
): Promise<void> {
  const endings = watchers.map(() => ({ isOver: false }));
  const waits = watchers.map((watching, index) => wait(watching, endings[index] ?? { isOver: true }));
  // Where a comparison fails before, the server ends under those who still wait.
  for (const waiting of waits) waiting.catch(() => {});
  await act();
  for (const [index, watching] of watchers.entries()) {
    const { asking } = watching.devices;
    const asked = withoutAge(await ask(watching, { device: "asking" }));
    assert.deepEqual(asked, withoutAge(await ask(watching, { device: "alone" })), `${watching.name} after "${name}"`);
    if (asked === undefined) {
      Object.assign(endings[index] ?? {}, { isOver: true });
      await asking.put(path`/user/${asking.userId}/account_data/m.nudge`, { name });
    }
    assert.deepEqual(withoutAge(await waits[index]), asked, `${watching.name}, woken by "${name}"`);
  }
}

const LAZY = { state: { lazy_load_members: true } };

testEachServer("who waits is told the same as who asks, and as who is answered alone", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol, dave, erin, frank] = await hs.register("alice", "bob", "carol", "dave", "erin", "frank");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "Hall" });
  const nameless = await alice.createRoom({ preset: "public_chat" });
  for (const user of [bob, carol, dave, erin]) for (const room of [roomId, nameless]) await user.join(room);
  const ignore = (users: Json) =>
    dave.put(path`/user/${dave.userId}/account_data/m.ignored_user_list`, { ignored_users: users });
  await ignore({ [erin.userId]: {} });
  const watchers = [
    await watcher(alice, { name: "alice", room: LAZY }),
    await watcher(bob, { name: "bob" }),
    await watcher(bob, { name: "bob with state after", query: { use_state_after: true } }),
    await watcher(carol, { name: "carol, lazy", room: LAZY }),
    await watcher(carol, {
      name: "carol, counting threads",
      room: { ...LAZY, timeline: { limit: 1, unread_thread_notifications: true } },
    }),
    await watcher(carol, { name: "carol, without messages", room: { timeline: { not_types: ["m.room.message"] } } }),
    await watcher(dave, { name: "dave, ignoring erin", room: LAZY }),
    await watcher(erin, { name: "erin", room: LAZY, query: { use_state_after: true } }),
    await watcher(frank, { name: "frank", room: { include_leave: true } }),
  ];
  let target = "";
  const text = (user: TestClient, body: string, further: Json = {}) =>
    user.send(roomId, { type: "m.room.message", content: { msgtype: "m.text", body, ...further } });
  const state = (type: string, content: Json, room = roomId) => alice.setState(room, { type, content });
  const steps: readonly (readonly [string, () => Promise<unknown>])[] = [
    ["a message", async () => target = await text(erin, "one")],
    ["another by the same", () => text(erin, "two")],
    ["a mention", () => text(alice, "bob, carol", { "m.mentions": { user_ids: [bob.userId, carol.userId] } })],
    ["an edit", () => text(erin, "* 1", { "m.relates_to": { rel_type: "m.replace", event_id: target } })],
    ["a reply in a thread", () => text(erin, "re", { "m.relates_to": { rel_type: "m.thread", event_id: target } })],
    ["a receipt", () => bob.post(path`/rooms/${roomId}/receipt/m.read/${target}`)],
    ["a message after the receipt", () => text(alice, "three")],
    ["typing", () => erin.put(path`/rooms/${roomId}/typing/${erin.userId}`, { typing: true, timeout: 30_000 })],
    ["a message while one is typing", () => text(carol, "four")],
    ["a topic", () => state("m.room.topic", { topic: "Weather" })],
    ["another topic", () => state("m.room.topic", { topic: "News" })],
    ["a name", () => state("m.room.name", { name: "House" })],
    ["no name", () => state("m.room.name", {})],
    ["a message without a name", () => text(erin, "nameless")],
    ["a redaction", () => erin.put(path`/rooms/${roomId}/redact/${target}/${"r1"}`, {})],
    ["a message after the redaction", () => text(erin, "five")],
    ["an invitation", () => alice.invite(roomId, frank.userId)],
    ["a join", () => frank.join(roomId)],
    ["a message by a newcomer", () => text(frank, "hello")],
    ["another name of a member", () =>
      frank.setState(roomId, {
        type: "m.room.member",
        stateKey: frank.userId,
        content: { membership: "join", displayname: "Frank" },
      })],
    ["a message under another name", () => text(frank, "hello again")],
    ["visibility for members", () => state("m.room.history_visibility", { history_visibility: "joined" })],
    ["a message for members", () => text(erin, "six")],
    ["a leave", () => frank.leave(roomId)],
    ["a message without the one who left", () => text(alice, "seven")],
    ["a second join", () => frank.join(roomId)],
    ["a message by one who came back", () => text(frank, "eight")],
    ["visibility for the world", () => state("m.room.history_visibility", { history_visibility: "world_readable" })],
    ["a ban", () => alice.post(path`/rooms/${roomId}/ban`, { user_id: frank.userId })],
    ["a message after the ban", () => text(erin, "nine")],
    ["power levels", () => state("m.room.power_levels", { users: { [erin.userId]: 50 }, users_default: 0 })],
    ["a message in the other room", () => erin.sendText(nameless, "elsewhere")],
    ["a topic of the other room", () => state("m.room.topic", { topic: "Small" }, nameless)],
    ["an end of ignoring", () => ignore({})],
    ["a message that is not ignored", () => text(erin, "ten")],
    [
      "one's own account data",
      () => bob.put(path`/user/${bob.userId}/rooms/${roomId}/account_data/m.tag`, { tags: {} }),
    ],
    ["a message of a kind nobody knows", () => erin.send(roomId, { type: "org.example.odd", content: { a: [1] } })],
  ];
  for (const [name, act] of steps) await compare(watchers, { name, act });
});

testEachServer("several events at once are told alike to all", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "Hall" });
  for (const user of [bob, carol]) await user.join(roomId);
  const watchers = [
    await watcher(bob, { name: "bob", room: { ...LAZY, timeline: { limit: 20 } } }),
    await watcher(carol, { name: "carol", query: { use_state_after: true } }),
  ];
  const check = async (name: string) => {
    for (const watching of watchers) {
      const asked = withoutAge(await ask(watching, { device: "asking" }));
      assert.notEqual(asked?.join?.[roomId], undefined, name);
      assert.deepEqual(asked, withoutAge(await ask(watching, { device: "alone" })), `${watching.name} after ${name}`);
    }
  };
  for (const count of [2, 5, 15, 30]) {
    for (let index = 0; index < count; index++) {
      await (index % 2 === 0 ? alice : carol).sendText(roomId, `message ${index}`);
      if (index % 3 === 0) await alice.setState(roomId, { type: "m.room.topic", content: { topic: `${index}` } });
    }
    await check(`${count} messages`);
  }
});
