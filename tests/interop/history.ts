/** What goes wrong between servers, and what is caught up on: races, being away, shutting out, new keys, old history. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { formatSigningKey, generateSigningKey, parseSigningKeys } from "../../src/protocol/signatures.ts";
import { path } from "../harness/client.ts";
import { joinVia, openRoom, type SidedCheck, type Sides } from "./check.ts";
import type { HomeServer } from "./servers.ts";
import { historyOf, sendMany, until, untilEvent, untilHas, untilMember, untilSameState } from "./until.ts";

const LONG_HISTORY = 500;
const MISSED = 100;

/** The checks. */
export const HISTORY: Readonly<Record<string, SidedCheck>> = {
  "500 messages of before the join": backfill,
  "a kick races with messages": kickRace,
  "a ban races with joins": banRace,
  "a room is upgraded": upgrade,
  "a server is shut out by the room": shutOut,
  "100 messages while the guest is down": (sides) => beDown(sides, "guest"),
  "100 messages while the host is down": (sides) => beDown(sides, "host"),
  "the host has a new key": rotateKey,
};

async function backfill({ host, guest, remember }: Sides): Promise<void> {
  const [alice, bob] = [await host.register("alice"), await guest.register("bob")];
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const eventIds = await sendMany(alice, { roomId, count: LONG_HISTORY });
  await joinVia(bob, roomId, host);
  remember({ roomId, users: [alice, bob] });
  await untilHas(bob, { roomId, eventIds });
  const events = await historyOf(bob, roomId);
  assert.equal(new Set(events.map(({ event_id: id }) => id)).size, events.length, "no event comes twice");
  assert.equal(events.at(-1)?.type, "m.room.create");
}

async function kickRace(sides: Sides): Promise<void> {
  const { roomId, alice, bob } = await openRoom({ ...sides, remember: () => {} });
  const carol = await sides.guest.register("carol");
  await joinVia(carol, roomId, sides.host);
  sides.remember({ roomId, users: [alice, carol] });
  await untilMember(alice, { roomId, userId: carol.userId, membership: "join" });
  const chatter = sendMany(bob, { roomId, count: 30 }).catch(() => []);
  await alice.post(path`/rooms/${roomId}/kick`, { user_id: bob.userId, reason: "enough" });
  await chatter;
  for (const user of [alice, carol]) await untilMember(user, { roomId, userId: bob.userId, membership: "leave" });
  const eventId = await carol.sendText(roomId, "it goes on");
  await untilEvent(alice, { roomId, eventId });
}

async function banRace(sides: Sides): Promise<void> {
  const { roomId, alice, bob } = await openRoom({ ...sides, remember: () => {} });
  const carol = await sides.guest.register("carol");
  await joinVia(carol, roomId, sides.host);
  sides.remember({ roomId, users: [alice, carol] });
  await untilMember(alice, { roomId, userId: carol.userId, membership: "join" });
  for (let round = 0; round < 3; round++) {
    const leaveAndJoin = async () => {
      await bob.request("POST", path`/rooms/${roomId}/leave`, { body: {} });
      await bob.request("POST", path`/join/${roomId}`, { body: {}, query: { server_name: sides.host.name } });
    };
    await Promise.all([leaveAndJoin(), alice.post(path`/rooms/${roomId}/ban`, { user_id: bob.userId })]);
    // Whether the ban or a join that it did not know of counts is for the resolution to say, but to both alike.
    await untilSameState({ roomId, users: [alice, carol] });
    await alice.request("POST", path`/rooms/${roomId}/unban`, { body: { user_id: bob.userId } });
    await untilSameState({ roomId, users: [alice, carol] });
    await joinVia(bob, roomId, sides.host);
    for (const user of [alice, carol]) await untilMember(user, { roomId, userId: bob.userId, membership: "join" });
  }
  await alice.post(path`/rooms/${roomId}/ban`, { user_id: bob.userId });
  for (const user of [alice, carol]) await untilMember(user, { roomId, userId: bob.userId, membership: "ban" });
}

async function upgrade(sides: Sides): Promise<void> {
  const { roomId, alice, bob } = await openRoom(sides, { room_version: "10", name: "Old and new" });
  const { replacement_room: newRoom } = await alice.post(path`/rooms/${roomId}/upgrade`, { new_version: "12" });
  const tombstone = await until("the tombstone", async () => {
    const { status, body } = await bob.request("GET", path`/rooms/${roomId}/state/m.room.tombstone/`);
    return status === 200 ? body : null;
  });
  assert.equal(tombstone.replacement_room, newRoom);
  await joinVia(bob, newRoom, sides.host);
  sides.remember({ roomId: newRoom, users: [alice, bob] });
  const create = await bob.state(newRoom, { type: "m.room.create" });
  assert.equal(create.predecessor.room_id, roomId);
  assert.equal((await bob.state(newRoom, { type: "m.room.name" })).name, "Old and new");
}

async function shutOut(sides: Sides): Promise<void> {
  const { roomId, alice, bob } = await openRoom(sides);
  const { roomId: elsewhere, alice: anna, bob: ben } = await openRoom(sides);
  await untilMember(anna, { roomId: elsewhere, userId: ben.userId, membership: "join" });
  const acl = (deny: readonly string[]) => ({ allow: ["*"], deny, allow_ip_literals: true });
  const lists = (deny: readonly string[]) => ({ type: "m.room.server_acl", content: acl(deny) });
  await untilEvent(bob, {
    roomId,
    eventId: await alice.setState(roomId, lists([sides.guest.address])),
  });
  const hidden = await bob.sendText(roomId, "nobody hears this");
  await untilEvent(anna, { roomId: elsewhere, eventId: await ben.sendText(elsewhere, "but this") });
  const heard = (await historyOf(alice, roomId)).map(({ event_id: id }) => id);
  assert.equal(heard.includes(hidden), false, "the host takes nothing from a server that is shut out");
  const closed = await alice.createRoom({
    preset: "public_chat",
    initial_state: [{ ...lists([sides.guest.address]), state_key: "" }],
  });
  const { status } = await bob.request("POST", path`/join/${closed}`, {
    ...{ body: {}, query: { server_name: sides.host.name, via: sides.host.name } },
  });
  assert.equal(status, 403);
  await untilEvent(bob, { roomId, eventId: await alice.setState(roomId, lists([])) });
  await untilEvent(alice, { roomId, eventId: await bob.sendText(roomId, "let in again") });
}

async function beDown(sides: Sides, down: "host" | "guest"): Promise<void> {
  const { roomId, alice, bob } = await openRoom(sides);
  await untilMember(alice, { roomId, userId: bob.userId, membership: "join" });
  const [speaker, other] = down === "guest" ? [alice, bob] : [bob, alice];
  await untilEvent(other, { roomId, eventId: await speaker.sendText(roomId, "before") });
  await sides[down].pause();
  let eventIds: string[];
  try {
    eventIds = await sendMany(speaker, { roomId, count: MISSED });
  } finally {
    await sides[down].resume();
  }
  await untilHas(other, { roomId, eventIds });
  await untilEvent(speaker, { roomId, eventId: await other.sendText(roomId, "back again") });
}

async function rotateKey(sides: Sides): Promise<void> {
  const { roomId, alice, bob } = await openRoom(sides);
  await untilMember(alice, { roomId, userId: bob.userId, membership: "join" });
  await untilEvent(bob, { roomId, eventId: await alice.sendText(roomId, "by the old key") });
  await sides.host.pause();
  try {
    await replaceKey(sides.host);
  } finally {
    await sides.host.resume();
  }
  await untilEvent(bob, { roomId, eventId: await alice.sendText(roomId, "by the new key") });
  const late = await sides.guest.register("late");
  await joinVia(late, roomId, sides.host);
  await untilEvent(alice, { roomId, eventId: await late.sendText(roomId, "heard of both") });
}

async function replaceKey(server: HomeServer): Promise<void> {
  const names = await Array.fromAsync(Deno.readDir(server.folder), ({ name }) => name);
  const file = names.find((name) => name.endsWith(".signing.key"));
  const [old] = file === undefined ? [] : parseSigningKeys(await Deno.readTextFile(join(server.folder, file))) ?? [];
  if (file === undefined || old === undefined) throw new Error(`No signing key in ${names.join(", ")}`);
  await Deno.writeTextFile(
    join(server.folder, file),
    formatSigningKey(generateSigningKey((size) => randomBytes(size))),
  );
  const expired = { key: old.verifyKey.base64, expired_ts: Date.now() };
  await server.configure({ old_signing_keys: { [old.keyId]: expired } });
}
