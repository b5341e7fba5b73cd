/** A random history of one room on several servers: what its users and its network do, and what rogue servers try. */
import { selectAuthKeys } from "../../src/protocol/auth_events.ts";
import { MatrixError } from "../../src/protocol/errors.ts";
import { buildEvent } from "../../src/protocol/event_builder.ts";
import { hasReferencePairs } from "../../src/protocol/event_format.ts";
import { referenceHash } from "../../src/protocol/hashes.ts";
import type { DeviceId, EventId, RoomId, UserId } from "../../src/protocol/ids.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import type { RoomVersionId } from "../../src/protocol/room_versions.ts";
import { RemoteError } from "../../src/federation/remote_error.ts";
import { parseJsonStrict } from "../../src/protocol/canonical_json.ts";
import type { Requester, StoredEvent } from "../../src/rooms/types.ts";
import { sql } from "../../src/storage/sql.ts";
import type { FakeClock } from "../harness/fake_clock.ts";
import type { SeededRandom } from "./random.ts";
import type { ModelNetwork, ModelServer } from "./servers.ts";

/** A user with their server. */
export interface ModelUser {
  readonly server: ModelServer;
  readonly requester: Requester;
  readonly id: UserId;
}

/** A room with a history. */
export interface History {
  readonly network: ModelNetwork;
  readonly clock: FakeClock;
  readonly random: SeededRandom;
  readonly roomId: RoomId;
  readonly users: readonly ModelUser[];
  /** What happened, for whoever looks for the reason of a failure. */
  readonly trace: string[];
}

/** What a step does, and how often in comparison with others. */
type Step = (history: History) => Promise<string>;

const STEPS: readonly (readonly [weight: number, step: Step])[] = [
  [14, sendMessage],
  [14, setState],
  [10, changePower],
  [8, changeMembership],
  [6, joinAgain],
  [4, changeJoinRule],
  [3, redact],
  [12, forge],
  [22, deliverSome],
  [6, partition],
];
const TOTAL_WEIGHT = STEPS.reduce((sum, [weight]) => sum + weight, 0);
const LEVELS = [0, 25, 50, 75, 100];
const MAX_KNOWN = 1_000;

/** Makes a room with users of all servers in it; the first is its creator. */
export async function startHistory(
  network: ModelNetwork,
  { clock, random, version }: { clock: FakeClock; random: SeededRandom; version: RoomVersionId },
): Promise<History> {
  const users = network.servers.flatMap((server) =>
    ["anna", "ben"].map((name) => {
      const id = `@${name}:${server.name}` as UserId;
      const deviceId = "DEVICE" as DeviceId;
      const no = { isGuest: false, isAdmin: false, isShadowBanned: false, appserviceId: null };
      return { server, id, requester: { userId: id, deviceId, ...no } };
    })
  );
  const [creator, ...others] = users;
  if (creator === undefined) throw new Error("No servers");
  const moderators = others.filter(({ id }) => id.startsWith("@anna")).map((
    { id },
  ) => [id, random.pick([50, 50, 100])]);
  const creatorLevel = version === "12" ? [] : [[creator.id, 100]];
  const roomId = await creator.server.parts.engine.createRoom(creator.requester, {
    preset: "public_chat",
    roomVersion: version,
    powerLevelContentOverride: { users: Object.fromEntries([...creatorLevel, ...moderators]) },
  });
  const history = { network, clock, random, roomId, users, trace: [] };
  for (const user of others) {
    await user.server.parts.engine.join(user.requester, { roomId, via: [creator.server.name] });
    await network.settle();
  }
  return history;
}

/** Lets one thing happen. What the rules forbid is part of the game. */
export async function takeStep(history: History): Promise<void> {
  const { random, clock, trace } = history;
  // Equal times make the ids of events decide.
  if (random.percent(60)) clock.advance(random.int(1_000));
  let at = random.int(TOTAL_WEIGHT);
  const found = STEPS.find(([weight]) => (at -= weight) < 0);
  if (found === undefined) throw new Error("No such step");
  try {
    trace.push(await found[1](history));
  } catch (error) {
    if (!(error instanceof MatrixError) && !(error instanceof RemoteError)) throw error;
    trace.push(`${found[1].name}: ${error.message}`);
  }
}

async function sendMessage({ random, users, roomId }: History): Promise<string> {
  const { server, requester, id } = random.pick(users);
  const content = { msgtype: "m.text", body: `${random.int(1_000)}` };
  const event = { roomId, type: "m.room.message", stateKey: null, content, txnId: null };
  return `${id} sent ${await server.parts.engine.sendEvent(requester, event)}`;
}

async function setState(history: History): Promise<string> {
  const { random, users } = history;
  return await sendState(history, random.pick(users), {
    type: random.pick(["m.room.name", "m.room.topic", "org.example.state"]),
    content: { name: `${random.int(1_000)}`, topic: "" },
  });
}

async function sendState(
  { roomId }: History,
  { server, requester, id }: ModelUser,
  { type, content }: { type: string; content: JsonObject },
): Promise<string> {
  const eventId = await server.parts.engine.sendEvent(requester, { roomId, type, stateKey: "", content, txnId: null });
  return `${id} set ${type} ${JSON.stringify(content)}: ${eventId}`;
}

async function changePower(history: History): Promise<string> {
  const { random, users } = history;
  const user = random.pick(users);
  const content = await changedPower(history, user);
  return await sendState(history, user, { type: "m.room.power_levels", content });
}

/** Power levels with one thing changed, as the user's server knows them. */
async function changedPower({ random, users, roomId }: History, { server }: ModelUser): Promise<JsonObject> {
  const root = (await server.parts.engine.head(roomId))?.stateRoot ?? 0;
  const now = (await server.parts.state.get(root, "m.room.power_levels", ""))?.event.content ?? {};
  const others = users.slice(1);
  if (random.percent(25)) {
    return { ...now, [random.pick(["ban", "kick", "state_default", "redact"])]: random.pick(LEVELS) };
  }
  return { ...now, users: { ...now["users"] as JsonObject, [random.pick(others).id]: random.pick(LEVELS) } };
}

async function changeMembership({ random, users, roomId }: History): Promise<string> {
  const actor = random.pick(users);
  const target = random.pick(users.slice(1));
  const { engine } = actor.server.parts;
  const action = random.pick(["kick", "ban", "ban", "unban", "invite"] as const);
  return `${actor.id} ${action}s ${target.id}: ${await engine[action](actor.requester, { roomId, userId: target.id })}`;
}

async function joinAgain({ random, users, roomId, network }: History): Promise<string> {
  const { server, requester, id } = random.pick(users.slice(1));
  const leaves = random.percent(25);
  const via = random.shuffle(network.servers.filter((other) => other !== server)).map(({ name }) => name);
  const { engine } = server.parts;
  if (leaves) return `${id} left: ${await engine.leave(requester, { roomId })}`;
  return `${id} joined: ${await engine.join(requester, { roomId, via })}`;
}

async function changeJoinRule(history: History): Promise<string> {
  const { random, users } = history;
  const content = { join_rule: random.pick(["public", "public", "invite"]) };
  return await sendState(history, random.pick(users), { type: "m.room.join_rules", content });
}

async function redact(history: History): Promise<string> {
  const { random, users, roomId } = history;
  const { server, requester, id } = random.pick(users);
  const target = random.pick(await knownEvents(history, server));
  const what = { roomId, eventId: target.event.eventId, reason: null, txnId: null };
  return `${id} redacted ${what.eventId}: ${await server.parts.engine.redact(requester, what)}`;
}

async function deliverSome({ random, network }: History): Promise<string> {
  const [from, to] = random.shuffle(network.servers);
  if (from === undefined || to === undefined) throw new Error("Too few servers");
  const delivery = {
    limit: random.pick([1, 3, 50]),
    latestOnly: random.percent(15),
    isRepeated: random.percent(15),
    ...(random.percent(30) ? { shuffle: random.shuffle.bind(random) as <T>(list: T[]) => T[] } : {}),
  };
  const count = await network.deliver(from, to, delivery);
  return `${from.name} sent ${count} events to ${to.name} ${JSON.stringify(delivery)}`;
}

function partition({ random, network }: History): Promise<string> {
  const [one, two] = random.shuffle(network.servers);
  if (one === undefined || two === undefined) throw new Error("Too few servers");
  const isCut = random.percent(50);
  network.setCut(one, two, isCut);
  return Promise.resolve(`${one.name} and ${two.name} are ${isCut ? "parted" : "joined"}`);
}

/**
 * A server that does not keep to the room as it knows it: an event of one of its users on top of any earlier event, and
 * sometimes with auth events that do not belong to that place.
 */
async function forge(history: History): Promise<string> {
  const { random, users, roomId, network } = history;
  const user = random.pick(users.slice(1));
  const { server } = user;
  const known = await knownEvents(history, server);
  const prev = random.shuffle(known).slice(0, 1 + random.int(2));
  const authSource = random.percent(20) ? random.pick(known) : prev[0];
  if (authSource === undefined) throw new MatrixError(404, "M_NOT_FOUND", "Nothing to build on");
  const built = await buildForgery(history, { user, prev, authSource });
  const [outcome] = await server.parts.engine.receiveEvents(roomId, [built]);
  const pdu = parseJsonStrict(built.json, { numbers: "exact" });
  for (const other of random.shuffle(network.servers.filter((candidate) => candidate !== server))) {
    const path = `/_matrix/federation/v1/send/forged${built.event.eventId.slice(1, 20)}`;
    const body = { origin: server.name, pdus: [pdu] };
    await network.request(server.name, { server: other.name, method: "PUT", path, body }).catch((error) => {
      if (!(error instanceof RemoteError)) throw error;
    });
  }
  return `${user.id} forged ${built.event.type} ${built.event.eventId}, ${outcome?.kind} at home`;
}

async function buildForgery(
  history: History,
  { user: { id, server }, prev, authSource }: {
    user: ModelUser;
    prev: readonly StoredEvent[];
    authSource: StoredEvent;
  },
): Promise<ReturnType<typeof buildEvent>> {
  const { clock, random, roomId } = history;
  const { rules } = authSource.event;
  const draft = { sender: id, ...await forgedContent(history, id) };
  const keys = selectAuthKeys(rules, draft);
  const auth = [...(await server.parts.state.getMany(authSource.stateAfter ?? 0, keys)).values()];
  const referenced = [...prev, ...auth].map(({ event }) => event);
  return buildEvent({
    ...{ rules, roomId, ...draft, ...server.signer },
    depth: Math.max(...prev.map(({ event }) => event.depth)) + 1,
    prevEvents: prev.map(({ event }) => event.eventId),
    authEvents: auth.map(({ event }) => event.eventId),
    originServerTs: clock.now() - random.int(5_000),
    ...(hasReferencePairs(rules)
      ? {
        eventId: `$forged${clock.now()}${random.int(2 ** 31)}:${server.name}` as EventId,
        referenceHashes: new Map(referenced.map((event) => [event.eventId, referenceHash(event.pdu, rules)])),
      }
      : {}),
  });
}

async function forgedContent(
  history: History,
  id: UserId,
): Promise<{ type: string; stateKey: string | null; content: JsonObject }> {
  const { random, users } = history;
  const member = (stateKey: string, membership: string) => ({
    type: "m.room.member",
    stateKey,
    content: { membership },
  });
  const target = random.pick(users.slice(1));
  switch (random.int(6)) {
    case 0:
      return { type: "m.room.message", stateKey: null, content: { body: "forged" } };
    case 1:
      return { type: "m.room.topic", stateKey: "", content: { topic: `${random.int(1_000)}` } };
    case 2:
      return member(target.id, random.pick(["ban", "leave"]));
    case 3:
      return member(id, random.pick(["join", "join", "leave"]));
    case 4:
      return { type: "m.room.join_rules", stateKey: "", content: { join_rule: random.pick(["public", "invite"]) } };
    default:
      return { type: "m.room.power_levels", stateKey: "", content: await changedPower(history, random.pick(users)) };
  }
}

/** The events of the room that a server has a place for, the create event excepted. */
async function knownEvents({ roomId }: History, { parts: { db, events } }: ModelServer): Promise<StoredEvent[]> {
  const room = await events.roomById(roomId);
  const rows = await db.all<{ event_nid: number }>(sql`
    SELECT event_nid FROM events WHERE room_nid = ${room?.roomNid ?? 0} AND position IS NOT NULL
    ORDER BY event_nid LIMIT ${MAX_KNOWN}`);
  const found = await events.byNid(rows.map(({ event_nid }) => event_nid));
  const known = [...found.values()].filter(({ event, isRejected }) => event.type !== "m.room.create" && !isRejected);
  if (known.length === 0) throw new MatrixError(404, "M_NOT_FOUND", "The server knows no events of the room");
  return known.sort((a, b) => a.nid - b.nid);
}
