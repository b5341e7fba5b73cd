/** A room of any size on another server, which lets people in without its members and then gives the whole state. */
import { canonicalJson } from "../../src/protocol/canonical_json.ts";
import { buildEvent, type BuiltEvent } from "../../src/protocol/event_builder.ts";
import type { EventId, RoomId, UserId } from "../../src/protocol/ids.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import { getRoomVersion } from "../../src/protocol/room_versions.ts";
import type { Signer } from "../../src/protocol/signatures.ts";
import { keyDocument } from "./inbound.ts";
import type { PeerAnswer, PeerHandler } from "./peer.ts";

/** The room: its state before its last event, which is a message. */
export interface BigRoom {
  readonly roomId: RoomId;
  readonly signer: Signer;
  readonly creator: UserId;
  /** What authorizes a join. */
  readonly auth: readonly BuiltEvent[];
  readonly others: readonly BuiltEvent[];
  readonly members: readonly BuiltEvent[];
  readonly last: BuiltEvent;
}

const DAY = 86_400_000;
const START = 1_700_000_000_000;
const VERSION = "11";
const NAME = "Everybody";

/** Makes a room with so many members, its creator among them, and so many state events beside them. */
export function makeBigRoom(signer: Signer, { members, others }: { members: number; others: number }): BigRoom {
  const rules = getRoomVersion(VERSION);
  if (rules === null) throw new Error("The room version is not known");
  const roomId = `!big:${signer.serverName}` as RoomId;
  const creator = `@creator:${signer.serverName}` as UserId;
  let last: BuiltEvent | null = null;
  const add = (
    type: string,
    { stateKey = null, content, sender = creator, by }: {
      stateKey?: string | null;
      content: JsonObject;
      sender?: UserId;
      by: readonly BuiltEvent[];
    },
  ): BuiltEvent => {
    last = buildEvent({
      ...{ rules, roomId, type, sender, stateKey, content, ...signer },
      depth: (last?.event.depth ?? 0) + 1,
      prevEvents: last === null ? [] : [last.event.eventId],
      authEvents: by.map(({ event }) => event.eventId),
      originServerTs: START + (last?.event.depth ?? 0),
    });
    return last;
  };
  const create = add("m.room.create", { stateKey: "", content: { room_version: VERSION }, by: [] });
  const own = add("m.room.member", { stateKey: creator, content: { membership: "join" }, by: [create] });
  const levels = { users: { [creator]: 100 } };
  const power = add("m.room.power_levels", { stateKey: "", content: levels, by: [create, own] });
  const rule = add("m.room.join_rules", { stateKey: "", content: { join_rule: "public" }, by: [create, own, power] });
  const auth = [create, power, rule];
  const trusted = [create, power, own];
  const rest = [create, power, rule, add("m.room.name", { stateKey: "", content: { name: NAME }, by: trusted })];
  const joined = [own];
  for (let index = 1; index < members; index++) {
    const sender = `@u${index}:${signer.serverName}` as UserId;
    const content = { membership: "join", displayname: `User ${index}` };
    joined.push(add("m.room.member", { stateKey: sender, content, sender, by: auth }));
  }
  for (let index = rest.length; index < others; index++) {
    rest.push(add("org.example.widget", { stateKey: `w${index}`, content: { n: index }, by: trusted }));
  }
  const message = add("m.room.message", { content: { msgtype: "m.text", body: "Welcome" }, by: trusted });
  return { roomId, signer, creator, auth, others: rest, members: joined, last: message };
}

/** How the room's server differs from the usual one. */
export interface BigRoomOptions {
  /** Runs before a state is told. */
  readonly onState?: () => void | Promise<void>;
  /** It lets people in with all members, as a server that knows no faster joins does. */
  readonly isWhole?: boolean;
}

/** Answers what another server asks of the room. */
export function bigRoomHandler(
  room: BigRoom,
  { onState = () => {}, isWhole = false }: BigRoomOptions = {},
): PeerHandler {
  const { signer, roomId, auth, others, members, last } = room;
  const list = (events: readonly BuiltEvent[]) => `[${events.map(({ json }) => json).join(",")}]`;
  const ids = (events: readonly BuiltEvent[]) => events.map(({ event }) => event.eventId);
  const byId = new Map<EventId, BuiltEvent>([...others, ...members, last].map((built) => [built.event.eventId, built]));
  const all = [...others, ...members];
  const servers = JSON.stringify([signer.serverName]);
  const omission = isWhole ? "" : `"members_omitted":true,"servers_in_room":${servers},`;
  const text = {
    join: `{"state":${list(isWhole ? all : others)},"auth_chain":${list(members.slice(0, 1))},${omission}` +
      `"origin":"${signer.serverName}"}`,
    ids: JSON.stringify({ pdu_ids: ids(all), auth_chain_ids: ids([...auth, ...members.slice(0, 1)]) }),
    state: `{"pdus":${list(all)},"auth_chain":${list([...auth, ...members.slice(0, 1)])}}`,
  };
  const keys = keyDocument(signer, { validUntilTs: Date.now() + DAY });
  const routes: readonly (readonly [string, (rest: readonly string[]) => PeerAnswer | Promise<PeerAnswer>])[] = [
    ["/_matrix/key/v2/server", () => ({ json: keys })],
    ["/_matrix/federation/v1/make_join/", ([, userId = ""]) => ({ text: templateFor(room, userId as UserId) })],
    ["/_matrix/federation/v2/send_join/", () => ({ text: text.join })],
    ["/_matrix/federation/v1/event/", ([eventId = ""]) => {
      const built = byId.get(eventId as EventId);
      return built === undefined ? NOT_FOUND : { text: `{"origin_server_ts":1,"pdus":[${built.json}]}` };
    }],
    ["/_matrix/federation/v1/state_ids/", async () => {
      await onState();
      return { text: text.ids };
    }],
    ["/_matrix/federation/v1/state/", () => ({ text: text.state })],
    ["/_matrix/federation/v1/backfill/", () => ({ text: `{"origin_server_ts":1,"pdus":[]}` })],
    ["/_matrix/federation/v1/send/", () => ({ json: { pdus: {} } })],
  ];
  return ({ url }) => {
    const [path = ""] = url.split("?");
    const route = routes.find(([prefix]) => path.startsWith(prefix));
    if (route === undefined || (path.includes("_join/") && !decodeURIComponent(path).includes(roomId))) {
      return NOT_FOUND;
    }
    return route[1](path.slice(route[0].length).split("/").map(decodeURIComponent));
  };
}

const NOT_FOUND: PeerAnswer = { status: 404, json: { errcode: "M_NOT_FOUND", error: "Not here" } };

function templateFor({ roomId, auth, last }: BigRoom, userId: UserId): string {
  return canonicalJson({
    room_version: VERSION,
    event: {
      ...{ type: "m.room.member", room_id: roomId, sender: userId, state_key: userId },
      content: { membership: "join" },
      depth: last.event.depth + 1,
      prev_events: [last.event.eventId],
      auth_events: auth.map(({ event }) => event.eventId),
      origin_server_ts: START,
    },
  });
}
