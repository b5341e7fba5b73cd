/** What servers that do not keep to the rules try in a history of the model. */
import { RemoteError } from "../../src/federation/remote_error.ts";
import { selectAuthKeys } from "../../src/protocol/auth_events.ts";
import { parseJsonStrict } from "../../src/protocol/canonical_json.ts";
import { MatrixError } from "../../src/protocol/errors.ts";
import { buildEvent } from "../../src/protocol/event_builder.ts";
import { hasReferencePairs } from "../../src/protocol/event_format.ts";
import { referenceHash } from "../../src/protocol/hashes.ts";
import type { EventId, UserId } from "../../src/protocol/ids.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import type { StoredEvent } from "../../src/rooms/types.ts";
import { sql } from "../../src/storage/sql.ts";
import { changedPower, type History, type ModelUser, randomJoinRule } from "./history.ts";
import type { ModelServer } from "./server.ts";

const MAX_KNOWN = 1_000;

/**
 * A server that does not keep to the room as it knows it: an event of one of its users on top of any earlier event, and
 * sometimes with auth events that do not belong to that place. It may be shown to some only.
 */
export async function forge(history: History): Promise<string> {
  const { random, users, roomId } = history;
  const user = random.pick(users.slice(1));
  const { server } = user;
  const known = await knownEvents(history, server);
  const prev = random.shuffle(known).slice(0, 1 + random.int(2));
  const authSource = random.percent(20) ? random.pick(known) : prev[0];
  if (authSource === undefined) throw new MatrixError(404, "M_NOT_FOUND", "Nothing to build on");
  const built = await buildForgery(history, { user, prev, authSource });
  const [outcome] = await server.parts.engine.receiveEvents(roomId, [built]);
  await show(history, { from: server, json: built.json, isForAll: random.percent(70) });
  return `${user.id} forged ${built.event.type} ${built.event.eventId}, ${outcome?.kind} at home`;
}

/** A join that names somebody of another server as its authorizer, without that server's signature: nobody takes it. */
export async function forgeAuthorizedJoin(history: History): Promise<string> {
  const { random, users, roomId } = history;
  const user = random.pick(users.slice(1));
  const { server } = user;
  const prev = [random.pick(await knownEvents(history, server))];
  const [authSource] = prev;
  if (authSource?.event.rules.restrictedJoinRule !== true) throw new MatrixError(400, "M_UNKNOWN", "No such rule");
  const authorizer = random.pick(users.filter((other) => other.server !== server)).id;
  const content = { membership: "join", join_authorised_via_users_server: authorizer };
  const draft = { type: "m.room.member", stateKey: user.id, content };
  const built = await buildForgery(history, { user, prev, authSource, draft });
  await show(history, { from: server, json: built.json, isForAll: true });
  for (const { name, parts: { events } } of history.network.servers) {
    if (await events.getById(built.event.eventId) === null) continue;
    throw new Error(`${name} took ${built.event.eventId} in ${roomId}, which ${authorizer} has not authorized`);
  }
  return `${user.id} forged a join authorized by ${authorizer}`;
}

async function show(
  { random, network }: History,
  { from, json, isForAll }: { from: ModelServer; json: string; isForAll: boolean },
): Promise<void> {
  const pdu = parseJsonStrict(json, { numbers: "exact" });
  const others = random.shuffle(network.servers.filter((candidate) => candidate !== from));
  for (const other of isForAll ? others : others.slice(0, 1)) {
    await network.transact(from.name, { server: other.name, pdus: [pdu] }).catch((error) => {
      if (!(error instanceof RemoteError)) throw error;
    });
  }
}

async function buildForgery(
  history: History,
  { user: { id, server }, prev, authSource, draft: given }: {
    user: ModelUser;
    prev: readonly StoredEvent[];
    authSource: StoredEvent;
    draft?: ForgedContent;
  },
): Promise<ReturnType<typeof buildEvent>> {
  const { clock, random, roomId } = history;
  const { rules } = authSource.event;
  const draft = { sender: id, ...given ?? await forgedContent(history, id) };
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

interface ForgedContent {
  readonly type: string;
  readonly stateKey: string | null;
  readonly content: JsonObject;
}

async function forgedContent(history: History, id: UserId): Promise<ForgedContent> {
  const { random, users } = history;
  const member = (stateKey: string, membership: string) => ({
    type: "m.room.member",
    stateKey,
    content: { membership },
  });
  const target = random.pick(users.slice(1));
  switch (random.int(7)) {
    case 0:
      return { type: "m.room.message", stateKey: null, content: { body: "forged" } };
    case 1:
      return { type: "m.room.topic", stateKey: "", content: { topic: `${random.int(1_000)}` } };
    case 2:
      return member(target.id, random.pick(["ban", "leave", "invite"]));
    case 3:
      return member(id, random.pick(["join", "join", "leave", "knock"]));
    case 4:
      return { type: "m.room.join_rules", stateKey: "", content: randomJoinRule(history) };
    case 5:
      // Authorized by one of the same server, who may not be there or may not invite.
      return {
        ...member(id, "join"),
        content: { membership: "join", join_authorised_via_users_server: sameServer(history, id) },
      };
    default:
      return { type: "m.room.power_levels", stateKey: "", content: await changedPower(history, random.pick(users)) };
  }
}

function sameServer({ random, users }: History, id: UserId): UserId {
  const domain = id.slice(id.indexOf(":"));
  return random.pick(users.filter((user) => user.id.endsWith(domain))).id;
}

/** The events of the room that a server has a place for, the create event excepted. */
export async function knownEvents({ roomId }: History, { parts: { db, events } }: ModelServer): Promise<StoredEvent[]> {
  const room = await events.roomById(roomId);
  const rows = await db.all<{ event_nid: number }>(sql`
    SELECT event_nid FROM events WHERE room_nid = ${room?.roomNid ?? 0} AND position IS NOT NULL
    ORDER BY event_nid LIMIT ${MAX_KNOWN}`);
  const found = await events.byNid(rows.map(({ event_nid }) => event_nid));
  const known = [...found.values()].filter(({ event, isRejected }) => event.type !== "m.room.create" && !isRejected);
  if (known.length === 0) throw new MatrixError(404, "M_NOT_FOUND", "The server knows no events of the room");
  return known.sort((a, b) => a.nid - b.nid);
}
