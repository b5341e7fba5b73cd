/**
 * Memberships of our users in rooms that other servers are in and we are not: joining, knocking, turning down.
 * Spec: server-server API, "Joining Rooms", "Leaving Rooms", "Knocking upon a room".
 *
 * Several servers are tried one after another. What a server answers to a join is checked whole before any of it counts:
 * the create event, the version, every signature, and that the state allows the join.
 */
import {
  type AskedMembership,
  type MembershipTemplate,
  type RemoteMembership,
  type SentJoin,
  UnsupportedVersion,
} from "../federation/remote_membership.ts";
import { RemoteError } from "../federation/remote_error.ts";
import type { SignatureChecks } from "../federation/signature_checks.ts";
import type { Logger } from "../lib/log.ts";
import { KeyedMutex } from "../lib/mutex.ts";
import { forbidden, MatrixError, notFound } from "../protocol/errors.ts";
import type { Pdu } from "../protocol/event.ts";
import { hasReferencePairs, parsePdu, roomIdOfCreate } from "../protocol/event_format.ts";
import { type EventId, type RoomId, type ServerName, serverNameOf, type UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import { listRoomVersions, type RoomVersionRules } from "../protocol/room_versions.ts";
import { hashAndSignEvent } from "../protocol/signatures.ts";
import { stripReceivedList } from "../protocol/stripped_state.ts";
import type { EngineDeps, RemoteMembershipRequest, RemoteRooms } from "./engine_deps.ts";
import type { Inbound } from "./inbound.ts";
import { leaveOutOfBand, recordOutOfBand } from "./out_of_band.ts";
import { storeOutliers } from "./outliers.ts";
import type { Outbox } from "./outbox.ts";
import type { PartialPositions } from "./partial_positions.ts";
import type { PartialRooms } from "./partial_rooms.ts";
import { selectPartialRoom, upsertPartialRoom } from "../storage/partial_rooms.ts";
import type { RoomHosts } from "./room_hosts.ts";
import type { PduChecks } from "./pdu_checks.ts";
import { ensureRoom, placeJoin } from "./place_join.ts";
import type { ReceivedEvent } from "./receive.ts";

/** What memberships are performed with. */
export interface PerformDeps {
  readonly engine: EngineDeps;
  readonly remote: RemoteMembership;
  readonly checks: PduChecks;
  readonly inbound: Inbound;
  readonly signatures: SignatureChecks;
  readonly hosts: RoomHosts;
  /** For joins without members; null to ask for whole states. */
  readonly faster: {
    readonly outbox: Outbox;
    readonly partialRooms: PartialRooms;
    readonly positions: PartialPositions;
  } | null;
  readonly log: Logger;
}

interface Completed {
  readonly received: ReceivedEvent;
  readonly rules: RoomVersionRules;
  readonly pdu: Pdu;
}

const MAX_TRIED_SERVERS = 20;
/** Somebody waits to join. */
const MAX_ASKED_SERVERS = 5;

/** Performs memberships. */
export class PerformMemberships implements RemoteRooms {
  readonly #deps: PerformDeps;
  readonly #rooms = new KeyedMutex<RoomId>();

  constructor(deps: PerformDeps) {
    this.#deps = deps;
  }

  /** Joins a room through one of the servers; returns the join event's id. */
  async join(request: RemoteMembershipRequest): Promise<EventId> {
    const { roomId } = request;
    return await this.#rooms.run(roomId, async () => {
      return await this.#tryEach(request, async (server) => {
        const completed = await this.#complete(server, { ...request, membership: "join" });
        const { received: { event }, pdu } = completed;
        const send = {
          roomId,
          eventId: event.eventId,
          pdu,
          omitMembers: this.#deps.faster !== null && request.isWhole !== true,
        };
        const answer = await this.#deps.remote.sendJoin(server, send);
        const join = await this.#acceptedJoin(answer, completed);
        await this.#enter(server, { roomId, rules: completed.rules, join, answer });
        return event.eventId;
      });
    });
  }

  /** Returns how complex the first server that tells says the room is; null when none does. */
  async complexity({ roomId, servers }: RemoteMembershipRequest): Promise<number | null> {
    const { engine, remote, log } = this.#deps;
    const others = servers.filter((server) => server !== engine.serverName).slice(0, MAX_ASKED_SERVERS);
    for (const server of others) {
      try {
        const told = await remote.complexity(server, roomId);
        if (told !== null) return told;
      } catch (error) {
        if (!(error instanceof RemoteError)) throw error;
        log.info("A server did not tell how complex a room is", { server, roomId, reason: error.message });
      }
    }
    return null;
  }

  /** Asks to be let into a room through one of the servers. */
  async knock(request: RemoteMembershipRequest): Promise<EventId> {
    const { roomId } = request;
    return await this.#tryEach(request, async (server) => {
      const { received, rules, pdu } = await this.#complete(server, { ...request, membership: "knock" });
      const { eventId } = received.event;
      const state = await this.#deps.remote.sendKnock(server, { roomId, eventId, pdu });
      await ensureRoom(this.#deps.engine, { roomId, rules });
      await recordOutOfBand(this.#deps.engine, { roomId, received, strippedState: stripReceivedList(state) });
      return eventId;
    });
  }

  /** Turns an invitation down or takes back a knock: through one of the servers, or else for ourselves alone. */
  async leave(request: RemoteMembershipRequest): Promise<EventId> {
    const { engine, log } = this.#deps;
    const { roomId, userId, content } = request;
    try {
      return await this.#tryEach(request, async (server) => {
        const { received, pdu } = await this.#complete(server, { ...request, membership: "leave" });
        const { eventId } = received.event;
        await this.#deps.remote.sendLeave(server, { roomId, eventId, pdu });
        await recordOutOfBand(engine, { roomId, received, strippedState: null });
        return eventId;
      });
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error;
      log.info("Leaving a room without its servers", { roomId, reason: error.message });
      const stored = await leaveOutOfBand(engine, { roomId, userId, content });
      if (stored === null) throw notFound("You are not in the room");
      return stored.event.eventId;
    }
  }

  /** Shows an invitation to the server of the invited user; returns it with that server's signature. */
  async invite(
    { received: { event }, roomState }: { received: ReceivedEvent; roomState: readonly JsonObject[] },
  ): Promise<ReceivedEvent> {
    const { remote, checks, signatures } = this.#deps;
    const server = serverNameOf(event.stateKey as UserId);
    const { roomId, eventId, rules } = event;
    try {
      const answer = await remote.invite(server, { roomId, eventId, pdu: event.pdu as Pdu, rules, roomState });
      const checked = await checks.check(answer, { rules, roomId });
      const isSame = checked.ok && checked.received.event.eventId === eventId;
      if (!isSame || !await signatures.eventBy(checked.received.event, server)) {
        throw new RemoteError("The invitation came back changed or without signature", badTemplate(server));
      }
      return checked.received;
    } catch (error) {
      throw error instanceof RemoteError ? toClientError(error) : error;
    }
  }

  /** Returns the other servers in a room that we are in. */
  async serversIn(roomId: RoomId): Promise<ServerName[]> {
    const { hosts, engine } = this.#deps;
    return [...(await hosts.inRoom(roomId)).keys()].filter((server) => server !== engine.serverName);
  }

  async #tryEach(
    { servers }: RemoteMembershipRequest,
    attempt: (server: ServerName) => Promise<EventId>,
  ): Promise<EventId> {
    const { engine, log } = this.#deps;
    const others = [...new Set(servers)].filter((server) => server !== engine.serverName).slice(0, MAX_TRIED_SERVERS);
    if (others.length === 0) throw notFound("No server that is in the room is known");
    let last: unknown = null;
    for (const server of others) {
      try {
        return await attempt(server);
      } catch (error) {
        if (error instanceof UnsupportedVersion) throw incompatible(error.roomVersion);
        if (!(error instanceof RemoteError) && !(error instanceof MatrixError)) throw error;
        log.info("A server did not help with a membership", { server, reason: error.message });
        if (error instanceof RemoteError && isFinal(error)) throw toClientError(error);
        last = error;
      }
    }
    throw last instanceof RemoteError ? toClientError(last) : last;
  }

  /** Gets a template and makes the event of it. */
  async #complete(
    server: ServerName,
    { roomId, userId, content, membership }: RemoteMembershipRequest & { membership: AskedMembership },
  ): Promise<Completed> {
    const versions = listRoomVersions().map(({ id }) => id);
    const template = await this.#deps.remote.make(server, { membership, roomId, userId, versions });
    assertTemplate(server, template, { roomId, userId, membership });
    const { rules, event } = template;
    const { signer, clock, randomText } = this.#deps.engine;
    const authorizer = isJsonObject(event["content"])
      ? event["content"]["join_authorised_via_users_server"]
      : undefined;
    const { unsigned: _unsigned, signatures: _signatures, hashes: _hashes, origin: _origin, ...rest } = event;
    const draft: JsonObject = {
      ...rest,
      content: { ...content, ...(authorizer === undefined ? {} : { join_authorised_via_users_server: authorizer }) },
      origin_server_ts: clock.now(),
      ...(hasReferencePairs(rules) ? { event_id: `$${randomText(24)}:${signer.serverName}` } : {}),
    };
    const pdu = hashAndSignEvent(draft as Pdu, { ...signer, rules });
    const parsed = parsePdu(pdu, rules);
    if (!parsed.ok) throw new RemoteError(`The template is not usable: ${parsed.reason}`, badTemplate(server));
    return { received: { event: parsed.event, json: parsed.json }, rules, pdu };
  }

  /** Returns the join as it counts: with the signature of the server that authorized it, where one had to. */
  async #acceptedJoin({ event }: SentJoin, { received, rules }: Completed): Promise<ReceivedEvent> {
    if (event === null) return received;
    const checked = await this.#deps.checks.check(event, { rules, roomId: received.event.roomId });
    return checked.ok && checked.received.event.eventId === received.event.eventId ? checked.received : received;
  }

  async #enter(
    server: ServerName,
    { roomId, rules, join, answer }: { roomId: RoomId; rules: RoomVersionRules; join: ReceivedEvent; answer: SentJoin },
  ): Promise<void> {
    const { engine, checks, inbound } = this.#deps;
    const room = { rules, roomId };
    const state = await checks.passing(answer.state, room);
    const authChain = await checks.passing(answer.authChain, room);
    assertCreate(server, { roomId, rules, state });
    await ensureRoom(engine, room);
    const copy = await engine.heads.load(roomId);
    await storeOutliers(engine, { roomId, events: [...authChain, ...state] });
    if (copy !== null && copy.localJoined.size > 0) {
      // Others of us are in the room: the join is one more event of it.
      const [outcome] = await inbound.receive(server, { room: copy.identity, events: [join] });
      if (outcome?.kind === "accepted" || outcome?.kind === "duplicate") return;
      throw forbidden("The join does not follow from the state of the room");
    }
    const stateIds = state.map(({ event }) => event.eventId);
    const { faster } = this.#deps;
    if (!answer.membersOmitted || faster === null) return await placeJoin(engine, { roomId, join, stateIds });
    const servers = [...new Set([server, ...answer.serversInRoom])].filter((other) => other !== engine.serverName);
    const position = engine.notifier.position("events");
    const knownMembers = missingAuthMembers(join, { state, authChain });
    await placeJoin(engine, {
      ...{ roomId, join, stateIds: [...stateIds, ...knownMembers] },
      onPartial: async (tx, { roomNid, joinNid }) => {
        const earlier = (await selectPartialRoom(tx, roomNid))?.servers ?? [];
        if (earlier.length > 0) await faster.outbox.countServers(tx, { roomNid, servers: earlier, by: -1, position });
        await upsertPartialRoom(tx, { roomNid, joinNid, servers });
        faster.positions.noteChange(tx);
        await faster.outbox.countServers(tx, { roomNid, servers, by: 1, position });
      },
    });
    faster.partialRooms.start(roomId);
  }
}

function assertTemplate(
  server: ServerName,
  { event }: MembershipTemplate,
  { roomId, userId, membership }: { roomId: RoomId; userId: UserId; membership: AskedMembership },
): void {
  const { content } = event;
  const fits = event["type"] === "m.room.member" && event["state_key"] === userId && event["sender"] === userId &&
    event["room_id"] === roomId && isJsonObject(content) && content["membership"] === membership;
  if (!fits) throw new RemoteError("The template is for something else than was asked", badTemplate(server));
}

function badTemplate(server: ServerName): ConstructorParameters<typeof RemoteError>[1] {
  return { server, transient: false, reachable: true, status: 200 };
}

/**
 * Returns the member events that a join names as what allows it and that its state, which lacks members, does not have:
 * that of whoever lets the joiner into a restricted room.
 */
function missingAuthMembers(
  join: ReceivedEvent,
  { state, authChain }: { state: readonly ReceivedEvent[]; authChain: readonly ReceivedEvent[] },
): EventId[] {
  const named = new Set(join.event.authEvents);
  const present = new Set(
    state.filter(({ event }) => event.type === "m.room.member").map(({ event }) => event.stateKey),
  );
  return authChain
    .filter(({ event: { type, stateKey, eventId } }) =>
      type === "m.room.member" && named.has(eventId) && !present.has(stateKey)
    )
    .map(({ event }) => event.eventId);
}

/** The state must be of this room and of the version that the template was for. */
function assertCreate(
  server: ServerName,
  { roomId, rules, state }: { roomId: RoomId; rules: RoomVersionRules; state: readonly ReceivedEvent[] },
): void {
  const create = state.find(({ event }) => event.type === "m.room.create" && event.stateKey === "")?.event;
  const version: JsonValue = create?.content["room_version"] ?? "1";
  const isRight = create !== undefined && version === rules.id &&
    (!rules.roomIdIsCreateHash || roomIdOfCreate(create.eventId) === roomId);
  if (!isRight) throw new RemoteError("The state has not the room's create event", badTemplate(server));
}

/** What one server says so clearly that no other needs to be asked. */
function isFinal({ status, errcode }: RemoteError): boolean {
  return errcode === "M_FORBIDDEN" && status === 403 || errcode === "M_INCOMPATIBLE_ROOM_VERSION";
}

function toClientError(error: RemoteError): MatrixError {
  const text = typeof error.body?.["error"] === "string" ? error.body["error"].slice(0, 500) : error.message;
  if (error.errcode === "M_INCOMPATIBLE_ROOM_VERSION") {
    const version = error.body?.["room_version"];
    return incompatible(typeof version === "string" ? version : "unknown");
  }
  if (error.status === 403) return forbidden(text);
  if (error.errcode === "M_UNABLE_TO_AUTHORISE_JOIN" || error.errcode === "M_UNABLE_TO_GRANT_JOIN") {
    return new MatrixError(400, error.errcode, text);
  }
  if (error.status === 404) return notFound(text);
  return new MatrixError(502, "M_UNKNOWN", `No server could help: ${error.message}`);
}

function incompatible(version: string): MatrixError {
  return new MatrixError(400, "M_INCOMPATIBLE_ROOM_VERSION", `Room version ${version} is not supported here`, {
    room_version: version,
  });
}
