/** Coming into rooms of the other server: public, by alias, invited, restricted, knocking; and going. */
import assert from "node:assert/strict";
import { isInvitedTo, path, type TestClient } from "../harness/client.ts";
import { joinVia, openRoom, type SidedCheck, type Sides, VERSIONS } from "./check.ts";
import { until, untilEvent, untilMember } from "./until.ts";

/** The checks. */
export const JOINS: Readonly<Record<string, SidedCheck>> = {
  ...Object.fromEntries(VERSIONS.flatMap((version) => checksOf(version))),
  "a join by alias": joinByAlias,
  "an invitation is declined": declineInvite,
  "an invitation is taken back": rescindInvite,
  "a public room is in the directory of the other server": publicRooms,
};

function checksOf(version: string): [string, SidedCheck][] {
  const checks: [string, SidedCheck][] = [
    [`a public join, version ${version}`, (sides) => joinPublic(sides, version)],
    [`an invited join, version ${version}`, (sides) => joinInvited(sides, version)],
  ];
  if (Number(version) >= 9) checks.push([`a restricted join, version ${version}`, (s) => joinRestricted(s, version)]);
  if (Number(version) >= 10) {
    checks.push([`a knock_restricted join, version ${version}`, (s) => joinKnockRestricted(s, version)]);
  }
  if (Number(version) >= 9) checks.push([`a knock, version ${version}`, (sides) => knock(sides, version)]);
  return checks;
}

async function joinPublic(sides: Sides, version: string): Promise<void> {
  const { roomId, alice, bob } = await openRoom(sides, { room_version: version });
  await untilMember(alice, { roomId, userId: bob.userId, membership: "join" });
  await untilEvent(bob, { roomId, eventId: await alice.sendText(roomId, "hello") });
  await untilEvent(alice, { roomId, eventId: await bob.sendText(roomId, "hello yourself") });
}

async function joinInvited({ host, guest, remember }: Sides, version: string): Promise<void> {
  const [alice, bob] = [await host.register("alice"), await guest.register("bob")];
  const roomId = await alice.createRoom({ preset: "private_chat", room_version: version, name: "Private" });
  await alice.invite(roomId, bob.userId);
  const { rooms } = await bob.syncUntil(isInvitedTo(roomId));
  const names = rooms.invite[roomId].invite_state.events.filter(({ type }: { type: string }) => type === "m.room.name");
  assert.equal(names[0]?.content.name, "Private");
  await bob.join(roomId);
  remember({ roomId, users: [alice, bob] });
  await untilMember(alice, { roomId, userId: bob.userId, membership: "join" });
  await untilEvent(alice, { roomId, eventId: await bob.sendText(roomId, "thanks") });
}

async function joinRestricted(sides: Sides, version: string): Promise<void> {
  const { roomId, alice, bob, stranger } = await openRestricted(sides, { version, joinRule: "restricted" });
  await stranger.fails("POST", path`/join/${roomId}?server_name=${sides.host.name}`, {
    ...{ body: {}, status: 403, errcode: "M_FORBIDDEN" },
  });
  await joinByMembership(sides, { roomId, alice, bob });
}

/** The members of the space may join, others may knock. */
async function joinKnockRestricted(sides: Sides, version: string): Promise<void> {
  const { roomId, alice, bob, stranger } = await openRestricted(sides, { version, joinRule: "knock_restricted" });
  await joinByMembership(sides, { roomId, alice, bob });
  const { name } = sides.host;
  await stranger.ok("POST", path`/knock/${roomId}`, { body: {}, query: { server_name: name, via: name } });
  for (const user of [alice, bob]) await untilMember(user, { roomId, userId: stranger.userId, membership: "knock" });
  await alice.invite(roomId, stranger.userId);
  // A server that is in the room lets its users in by what it has of the room, where the invitation comes a little later.
  for (const user of [alice, bob]) await untilMember(user, { roomId, userId: stranger.userId, membership: "invite" });
  await stranger.join(roomId);
  for (const user of [alice, bob]) await untilMember(user, { roomId, userId: stranger.userId, membership: "join" });
}

async function openRestricted(
  sides: Sides,
  { version, joinRule }: { version: string; joinRule: string },
): Promise<{ roomId: string; alice: TestClient; bob: TestClient; stranger: TestClient }> {
  const { roomId: space, alice, bob } = await openRoom(sides, { creation_content: { type: "m.space" } });
  await untilMember(alice, { roomId: space, userId: bob.userId, membership: "join" });
  const allow = [{ type: "m.room_membership", room_id: space }];
  const roomId = await alice.createRoom({
    preset: "private_chat",
    room_version: version,
    initial_state: [{ type: "m.room.join_rules", state_key: "", content: { join_rule: joinRule, allow } }],
  });
  return { roomId, alice, bob, stranger: await sides.guest.register("stranger") };
}

async function joinByMembership(
  { host, remember }: Sides,
  { roomId, alice, bob }: { roomId: string; alice: TestClient; bob: TestClient },
): Promise<void> {
  await joinVia(bob, roomId, host);
  remember({ roomId, users: [alice, bob] });
  const content = await untilMember(alice, { roomId, userId: bob.userId, membership: "join" });
  assert.equal(content.join_authorised_via_users_server, alice.userId);
  await untilEvent(alice, { roomId, eventId: await bob.sendText(roomId, "let in") });
}

async function knock({ host, guest, remember }: Sides, version: string): Promise<void> {
  const [alice, bob] = [await host.register("alice"), await guest.register("bob")];
  const roomId = await alice.createRoom({
    preset: "private_chat",
    room_version: version,
    name: "Closed",
    initial_state: [{ type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } }],
  });
  await bob.ok("POST", path`/knock/${roomId}`, {
    ...{ body: { reason: "please" }, query: { server_name: host.name, via: host.name } },
  });
  await bob.syncUntil((response) => response.rooms?.knock?.[roomId] !== undefined);
  const content = await untilMember(alice, { roomId, userId: bob.userId, membership: "knock" });
  assert.equal(content.reason, "please");
  await alice.invite(roomId, bob.userId);
  await bob.syncUntil(isInvitedTo(roomId));
  await bob.join(roomId);
  remember({ roomId, users: [alice, bob] });
  await untilMember(alice, { roomId, userId: bob.userId, membership: "join" });
}

async function joinByAlias({ host, guest, remember }: Sides): Promise<void> {
  const [alice, bob] = [await host.register("alice"), await guest.register("bob")];
  const localpart = `room-${guest.kind}`;
  const roomId = await alice.createRoom({ preset: "public_chat", room_alias_name: localpart });
  assert.equal(await bob.join(`#${localpart}:${host.name}`), roomId);
  remember({ roomId, users: [alice, bob] });
  await untilMember(alice, { roomId, userId: bob.userId, membership: "join" });
}

async function declineInvite({ host, guest }: Sides): Promise<void> {
  const [alice, bob] = [await host.register("alice"), await guest.register("bob")];
  const roomId = await alice.createRoom({ preset: "private_chat" });
  await alice.invite(roomId, bob.userId);
  await bob.syncUntil(isInvitedTo(roomId));
  await bob.leave(roomId);
  await untilMember(alice, { roomId, userId: bob.userId, membership: "leave" });
}

async function rescindInvite({ host, guest }: Sides): Promise<void> {
  const [alice, bob] = [await host.register("alice"), await guest.register("bob")];
  const roomId = await alice.createRoom({ preset: "private_chat" });
  await alice.invite(roomId, bob.userId);
  await bob.syncUntil(isInvitedTo(roomId));
  await alice.post(path`/rooms/${roomId}/kick`, { user_id: bob.userId });
  await bob.syncUntil((response) => response.rooms?.leave?.[roomId] !== undefined);
}

async function publicRooms({ host, guest }: Sides): Promise<void> {
  const [alice, bob] = [await host.register("alice"), await guest.register("bob")];
  const roomId = await alice.createRoom({ preset: "public_chat", visibility: "public", name: "Listed" });
  await until("the room in the directory", async () => {
    const { chunk } = await bob.get("/publicRooms", { server: host.name });
    return chunk.some((entry: { room_id: string }) => entry.room_id === roomId);
  });
}
