/** A random history of one room on several servers: what its users and its network do, and what rogue servers try. */
import { RemoteError } from "../../src/federation/remote_error.ts";
import { MatrixError } from "../../src/protocol/errors.ts";
import type { DeviceId, RoomId, ServerName, UserId } from "../../src/protocol/ids.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import { getRoomVersion, type RoomVersionId, type RoomVersionRules } from "../../src/protocol/room_versions.ts";
import type { Requester } from "../../src/rooms/types.ts";
import type { FakeClock } from "../harness/fake_clock.ts";
import { forge, forgeAuthorizedJoin, knownEvents } from "./forgeries.ts";
import type { SeededRandom } from "./random.ts";
import type { ModelServer } from "./server.ts";
import type { ModelNetwork } from "./servers.ts";

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
  readonly rules: RoomVersionRules;
  readonly roomId: RoomId;
  /** A room whose members may join the other one while its join rule says so. */
  readonly spaceId: RoomId;
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
  [4, knock],
  [5, changeJoinRule],
  [3, changeSpace],
  [6, race],
  [3, redact],
  [12, forge],
  [2, forgeAuthorizedJoin],
  [22, deliverSome],
  [6, partition],
  [2, restart],
];
const TOTAL_WEIGHT = STEPS.reduce((sum, [weight]) => sum + weight, 0);
const LEVELS = [0, 25, 50, 75, 100];

/** Makes a room with users of all servers in it, and a space with some of them; the first user is the creator of both. */
export async function startHistory(
  network: ModelNetwork,
  { clock, random, version }: { clock: FakeClock; random: SeededRandom; version: RoomVersionId },
): Promise<History> {
  const rules = getRoomVersion(version);
  const users = network.servers.flatMap((server) => ["anna", "ben"].map((name) => userOf(server, name)));
  const [creator, ...others] = users;
  if (creator === undefined || rules === null) throw new Error("No servers or no such version");
  const moderators = others.filter(({ id }) => id.startsWith("@anna")).map((
    { id },
  ) => [id, random.pick([50, 50, 100])]);
  const creatorLevel = rules.privilegedCreators ? [] : [[creator.id, 100]];
  const { engine } = creator.server.parts;
  const options = { preset: "public_chat", roomVersion: version } as const;
  const spaceId = await engine.createRoom(creator.requester, { ...options, creationContent: { type: "m.space" } });
  const roomId = await engine.createRoom(creator.requester, {
    ...options,
    powerLevelContentOverride: { users: Object.fromEntries([...creatorLevel, ...moderators]) },
  });
  const history = { network, clock, random, rules, roomId, spaceId, users, trace: [] };
  const via = [creator.server.name];
  for (const user of others) {
    await user.server.parts.engine.join(user.requester, { roomId, via });
    await network.settle();
    if (random.percent(50)) await user.server.parts.engine.join(user.requester, { roomId: spaceId, via });
    await network.settle();
  }
  return history;
}

function userOf(server: ModelServer, name: string): ModelUser {
  const id = `@${name}:${server.name}` as UserId;
  const deviceId = "DEVICE" as DeviceId;
  const no = { isGuest: false, isAdmin: false, isShadowBanned: false, appserviceId: null };
  return { server, id, requester: { userId: id, deviceId, ...no } };
}

/** Lets one thing happen. What the rules forbid is part of the game. */
export async function takeStep(history: History): Promise<void> {
  const { random, clock, trace } = history;
  // Equal times make the ids of events decide.
  if (random.percent(60)) clock.advance(random.int(1_000));
  let at = random.int(TOTAL_WEIGHT);
  const found = STEPS.find(([weight]) => (at -= weight) < 0);
  if (found === undefined) throw new Error("No such step");
  trace.push(await attempt(() => found[1](history), `${found[1].name}: `));
}

/** What came of it: refusals are part of the game. */
async function attempt(act: () => Promise<string>, prefix = ""): Promise<string> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof MatrixError) && !(error instanceof RemoteError)) throw error;
    return prefix + error.message;
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
export async function changedPower({ random, users, roomId }: History, { server }: ModelUser): Promise<JsonObject> {
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

async function joinAgain(history: History): Promise<string> {
  const { random, users, roomId } = history;
  const { server, requester, id } = random.pick(users.slice(1));
  const { engine } = server.parts;
  if (random.percent(25)) return `${id} left: ${await engine.leave(requester, { roomId })}`;
  return `${id} joined: ${await engine.join(requester, { roomId, via: viaFor(history, server) })}`;
}

async function knock(history: History): Promise<string> {
  const { random, users, roomId } = history;
  const { server, requester, id } = random.pick(users.slice(1));
  return `${id} knocked: ${await server.parts.engine.knock(requester, { roomId, via: viaFor(history, server) })}`;
}

function viaFor({ random, network }: History, server: ModelServer): ServerName[] {
  return random.shuffle(network.servers.filter((other) => other !== server)).map(({ name }) => name);
}

async function changeJoinRule(history: History): Promise<string> {
  const content = randomJoinRule(history);
  return await sendState(history, history.random.pick(history.users), { type: "m.room.join_rules", content });
}

/** A join rule that the room's version knows. */
export function randomJoinRule({ random, rules, spaceId }: History): JsonObject {
  const allow = [{ type: "m.room_membership", room_id: spaceId }];
  return random.pick<JsonObject>([
    { join_rule: "public" },
    { join_rule: "public" },
    { join_rule: "invite" },
    ...(rules.knocking ? [{ join_rule: "knock" }] : []),
    ...(rules.restrictedJoinRule ? [{ join_rule: "restricted", allow }] : []),
    ...(rules.knockRestrictedJoinRule ? [{ join_rule: "knock_restricted", allow }] : []),
  ]);
}

/** Somebody comes to the space or leaves it, and with that may or may not join the room. */
async function changeSpace(history: History): Promise<string> {
  const { random, users, spaceId: roomId } = history;
  const { server, requester, id } = random.pick(users.slice(1));
  const { engine } = server.parts;
  if (random.percent(50)) return `${id} left the space: ${await engine.leave(requester, { roomId })}`;
  return `${id} joined the space: ${await engine.join(requester, { roomId, via: viaFor(history, server) })}`;
}

/** One of each server decides about the same user, who moves too; nobody hears of the others before all is done. */
async function race(history: History): Promise<string> {
  const { random, users, roomId, network } = history;
  const target = random.pick(users.slice(1));
  const what: string[] = [];
  for (const server of random.shuffle(network.servers)) {
    const actor = random.pick(users.filter((user) => user.server === server));
    const action = actor === target
      ? random.pick(["join", "leave", "knock"] as const)
      : random.pick(["ban", "ban", "kick", "unban", "invite"] as const);
    const change = { roomId, userId: target.id, via: viaFor(history, server) };
    const outcome = await attempt(() => server.parts.engine[action](actor.requester, change));
    what.push(`${actor.id} ${action}: ${outcome}`);
  }
  return `race for ${target.id}: ${what.join(", ")}`;
}

/** Ends a server and starts it again. */
async function restart({ random, network }: History): Promise<string> {
  const server = random.pick(network.servers);
  await server.restart();
  return `${server.name} was restarted`;
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
