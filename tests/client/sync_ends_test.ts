/**
 * The end of a room that the server makes once for all its members must be what it tells each of them alone.
 *
 * Each reader asks for the whole twice, with a filter for which nothing is shared (all fields of events, by name) and
 * without; a first sliding window must say the same. Spec: client-server API, "Syncing"; MSC4186.
 */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const FIELDS = ["content", "event_id", "origin_server_ts", "redacts", "sender", "state_key", "type", "unsigned"];
const LIMIT = 4;
const MEMBER = "m.room.member";

interface Asking {
  readonly client: TestClient;
  readonly roomId: string;
  readonly after?: boolean;
}

/** The time since an event was sent is another with every answer. */
function withoutAge(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutAge);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => key !== "age");
  return Object.fromEntries(entries.map(([key, child]) => [key, withoutAge(child)]));
}

function sorted(events: Json[]): Json[] {
  return withoutAge(events).sort((a: Json, b: Json) => a.event_id < b.event_id ? -1 : 1);
}

/** Asks for the whole room by `/sync`; `alone`: in a way for which the server shares nothing. */
async function whole(
  { client, roomId, after = false }: Asking,
  { lazy, alone }: { lazy: boolean; alone: boolean },
): Promise<Json> {
  const room = { rooms: [roomId], timeline: { limit: LIMIT }, state: { lazy_load_members: lazy } };
  const filter = JSON.stringify({ room, ...(alone ? { event_fields: FIELDS } : {}) });
  const { rooms } = await client.get("/sync", { timeout: 0, filter, ...(after ? { use_state_after: true } : {}) });
  const { timeline, state, state_after: stateAfter, ...rest } = rooms.join[roomId];
  const events = withoutAge(timeline.events);
  return { ...rest, timeline: { ...timeline, events }, state: sorted(after ? stateAfter.events : state.events) };
}

async function compareWhole(asking: Asking, name: string): Promise<void> {
  for (const lazy of [true, false]) {
    const alone = await whole(asking, { lazy, alone: true });
    for (const time of ["first", "second"]) {
      assert.deepEqual(
        await whole(asking, { lazy, alone: false }),
        alone,
        `${name}, ${lazy ? "lazy" : "full"}, ${time}`,
      );
    }
  }
}

/** A first window selects the state at the end: all but members, and those that the timeline speaks of. */
async function compareWindow({ client, roomId }: Asking, name: string): Promise<void> {
  const { timeline, state } = await whole({ client, roomId, after: true }, { lazy: false, alone: true });
  const spoken = new Set<string>();
  for (const { sender, type, state_key: stateKey } of timeline.events) {
    spoken.add(sender);
    if (type === MEMBER) spoken.add(stateKey);
  }
  const selected = state.filter(({ type, state_key: key }: Json) => type !== MEMBER || spoken.has(key));
  const named = state.find(({ type }: Json) => type === "m.room.name")?.content.name ?? null;
  const config = { timeline_limit: LIMIT, required_state: [["*", "*"], [MEMBER, "$LAZY"]] };
  for (const time of ["first", "second"]) {
    const { rooms } = await client.post("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", {
      conn_id: `${name} ${time}`.slice(0, 255),
      room_subscriptions: { [roomId]: config },
    });
    const room = rooms[roomId];
    assert.deepEqual(withoutAge(room.timeline), timeline.events, `timeline, ${name}, ${time}`);
    assert.deepEqual(sorted(room.required_state), selected, `state, ${name}, ${time}`);
    assert.equal(room.limited, timeline.limited, `${name}, ${time}`);
    assert.equal(room.prev_batch, timeline.prev_batch, `${name}, ${time}`);
    assert.equal(room.name ?? null, named, `${name}, ${time}`);
  }
}

testEachServer("the end of a room is the same, made for all or for one", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol, dave, erin] = await hs.register("alice", "bob", "carol", "dave", "erin");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "Hall" });
  for (const user of [bob, carol, dave]) await user.join(roomId);
  await carol.put(path`/user/${carol.userId}/account_data/m.ignored_user_list`, {
    ignored_users: { [dave.userId]: {} },
  });
  let target = "";
  const text = (user: TestClient, body: string, further: Json = {}) =>
    user.send(roomId, { type: "m.room.message", content: { msgtype: "m.text", body, ...further } });
  const relates = (relation: string) => ({ "m.relates_to": { rel_type: relation, event_id: target } });
  const state = (type: string, content: Json) => alice.setState(roomId, { type, content });
  const displayname = (user: TestClient, displayname: string) =>
    user.setState(roomId, { type: MEMBER, stateKey: user.userId, content: { membership: "join", displayname } });
  const steps: readonly (readonly [string, () => Promise<unknown>])[] = [
    ["the joins", () => Promise.resolve()],
    ["a message", async () => target = await text(dave, "one")],
    [
      "an edit",
      () => text(dave, "* 1", { ...relates("m.replace"), "m.new_content": { msgtype: "m.text", body: "1" } }),
    ],
    ["a reply in a thread", () => text(alice, "re", relates("m.thread"))],
    ["a message without relations", () => text(dave, "two")],
    ["three more", async () => {
      for (const body of ["three", "four", "five"]) await text(alice, body);
    }],
    ["a topic", () => state("m.room.topic", { topic: "Weather" })],
    ["another topic", async () => target = await state("m.room.topic", { topic: "News" })],
    ["a name of a member", () => displayname(dave, "Dave")],
    ["a redaction of the topic", () => alice.put(path`/rooms/${roomId}/redact/${target}/${"r1"}`, {})],
    ["a message after the redaction", async () => target = await text(alice, "six")],
    ["no name", () => state("m.room.name", {})],
    ["a redaction of a message", () => alice.put(path`/rooms/${roomId}/redact/${target}/${"r2"}`, {})],
    ["messages after the redaction", async () => {
      for (const body of ["seven", "eight", "nine", "ten"]) await text(dave, body);
    }],
    ["a join", () => erin.join(roomId)],
    ["visibility for members", () => state("m.room.history_visibility", { history_visibility: "joined" })],
    ["a leave", () => erin.leave(roomId)],
    ["a second join", () => erin.join(roomId)],
    ["a message by one who came back", () => text(erin, "eleven")],
    [
      "an end of ignoring",
      () => carol.put(path`/user/${carol.userId}/account_data/m.ignored_user_list`, { ignored_users: {} }),
    ],
    ["messages of all", async () => {
      for (const user of [alice, dave, erin, alice]) await text(user, `by ${user.userId}`);
    }],
    ["an event of a kind nobody knows", () => erin.send(roomId, { type: "org.example.odd", content: { a: [1] } })],
  ];
  for (const [name, act] of steps) {
    await act();
    for (const client of [alice, bob, carol]) {
      const told = `${client.userId} after "${name}"`;
      await compareWhole({ client, roomId }, told);
      await compareWhole({ client, roomId, after: true }, `${told}, with state after`);
      await compareWindow({ client, roomId }, told);
    }
  }
  await hs.restart();
  for (const user of [bob, bob, erin]) {
    const client = hs.again(user);
    await compareWhole({ client, roomId }, `${user.userId} after a restart`);
    await compareWindow({ client, roomId }, `${user.userId} after a restart`);
  }
});

testEachServer("a device that has sent what is shown is told the transaction, others are not", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  for (const body of ["one", "two", "three", "four"]) await alice.sendText(roomId, body);
  const transactions = async (client: TestClient) => {
    const { timeline } = await whole({ client, roomId }, { lazy: true, alone: false });
    return timeline.events.map(({ unsigned }: Json) => unsigned.transaction_id !== undefined);
  };
  assert.deepEqual(await transactions(bob), [false, false, false, false]);
  assert.deepEqual(await transactions(alice), [true, true, true, true]);
  assert.deepEqual(await transactions(await alice.anotherDevice()), [false, false, false, false]);
  assert.deepEqual(await transactions(bob), [false, false, false, false]);
});
