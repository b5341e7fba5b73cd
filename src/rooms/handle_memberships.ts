/**
 * Taking in the memberships of users of other servers, as a server in the room. Spec: server-server API, "Joining Rooms",
 * "Leaving Rooms", "Knocking upon a room".
 *
 * What is accepted here must also reach the servers that its sender does not know yet: it is noted as relayed before it is
 * taken in, and the federation sender passes it on as it does our own events.
 */
import { badJson, forbidden, invalidParam, MatrixError } from "../protocol/errors.ts";
import type { RoomEvent } from "../protocol/event.ts";
import { parsePdu, pduJson } from "../protocol/event_format.ts";
import { checkContentHash } from "../protocol/hashes.ts";
import { type EventId, parseUserId, type RoomId, type ServerName, serverNameOf } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import { type Signer, signEvent } from "../protocol/signatures.ts";
import type { SignatureChecks } from "../federation/signature_checks.ts";
import type { Database } from "../storage/database.ts";
import { insertRelayedEvent } from "../storage/relayed_events.ts";
import type { RoomEngine } from "./engine.ts";
import type { EventStore } from "./event_store.ts";
import type { ResidentTemplates, TemplateMembership } from "./resident_templates.ts";
import type { RoomCopy } from "./room_heads.ts";
import type { RoomHosts } from "./room_hosts.ts";
import type { ServerReads } from "./server_reads.ts";
import type { ServerVisibility } from "./server_visibility.ts";
import type { StateReader } from "./state_reader.ts";
import type { StoredEvent } from "./types.ts";

/** What memberships are handled with. */
export interface HandleMembershipsDeps {
  readonly db: Database;
  readonly engine: RoomEngine;
  readonly events: EventStore;
  readonly state: StateReader;
  readonly hosts: RoomHosts;
  readonly reads: ServerReads;
  readonly visibility: ServerVisibility;
  readonly templates: ResidentTemplates;
  readonly checks: SignatureChecks;
  readonly signer: Signer;
}

/** A membership event as a server sent it. */
export interface SentMembership {
  readonly roomId: RoomId;
  readonly eventId: EventId;
  readonly body: JsonObject;
}

/** The answer to a join, as texts of federation JSON. */
export interface JoinAnswer {
  /** The join itself, with our signature where one of our users authorized it. */
  readonly event: string;
  /** The state before the join. */
  readonly state: readonly string[];
  readonly authChain: readonly string[];
  readonly serversInRoom: readonly ServerName[];
  readonly membersOmitted: boolean;
}

const MAX_HEROES = 5;
const HEROES_AT_ONCE = 50;

/** Handles memberships. */
export class HandleMemberships {
  readonly #deps: HandleMembershipsDeps;

  constructor(deps: HandleMembershipsDeps) {
    this.#deps = deps;
  }

  /** Takes in a join and returns what the server needs to be in the room. */
  async join(origin: ServerName, sent: SentMembership & { omitMembers: boolean }): Promise<JoinAnswer> {
    const serversInRoom = [...(await this.#deps.hosts.inRoom(sent.roomId)).keys()];
    const stored = await this.#take(origin, { ...sent, membership: "join" });
    const { state, reads, events } = this.#deps;
    const root = stored.stateBefore ?? 0;
    const all = sent.omitMembers ? await this.#withoutMembers(root, stored) : await state.entryNids(root);
    const room = await events.roomById(sent.roomId);
    if (room === null) throw new Error("The room has gone");
    const inState = new Set(all);
    const chain = await reads.authChain(room, [...all, stored.nid]);
    return {
      event: stored.json,
      state: await reads.renderAll(all, origin),
      authChain: await reads.renderAll(chain.filter((nid) => !sent.omitMembers || !inState.has(nid)), origin),
      serversInRoom,
      membersOmitted: sent.omitMembers,
    };
  }

  /** Takes in a leave. */
  async leave(origin: ServerName, sent: SentMembership): Promise<void> {
    await this.#take(origin, { ...sent, membership: "leave" });
  }

  /** Takes in a knock and returns what people see of the room before they are in it. */
  async knock(origin: ServerName, sent: SentMembership): Promise<string[]> {
    const stored = await this.#take(origin, { ...sent, membership: "knock" });
    return await this.#deps.visibility.render(await this.#deps.state.prejoin(stored.stateBefore ?? 0), origin);
  }

  async #take(
    origin: ServerName,
    { roomId, eventId, body, membership }: SentMembership & { membership: TemplateMembership },
  ): Promise<StoredEvent> {
    const copy = await this.#deps.templates.requireRoom(origin, roomId);
    const event = readMembership(body, { copy, eventId, membership });
    if (serverNameOf(event.sender) !== origin) throw forbidden("The user is not of the server that sends the event");
    const signed = await this.#authorizeJoin(event, copy);
    const unsigned = await this.#deps.checks.event(signed);
    if (unsigned !== null) throw forbidden(`The event has no good signature of "${unsigned}"`);
    await this.#deps.db.transaction((tx) => insertRelayedEvent(tx, signed.eventId));
    const received = { event: signed, json: pduJson(signed) };
    const [outcome] = await this.#deps.engine.receiveEvents(roomId, [received]);
    if (outcome?.kind === "rejected" || outcome?.kind === "soft_failed") throw forbidden(outcome.reason);
    if (outcome?.kind === "failed") throw new Error(outcome.reason);
    if (outcome?.kind === "missing") throw invalidParam("The event builds on events that this server does not have");
    const stored = await this.#deps.events.getById(signed.eventId);
    if (stored === null || stored.isRejected || stored.isSoftFailed) throw forbidden("The event was refused before");
    return stored;
  }

  /** Adds our signature to a join that names one of our users as the one who lets the joiner in. */
  async #authorizeJoin(event: RoomEvent, copy: RoomCopy): Promise<RoomEvent> {
    const authorizer = event.content["join_authorised_via_users_server"];
    if (event.content["membership"] !== "join" || !event.rules.restrictedJoinRule || authorizer === undefined) {
      return event;
    }
    const { signer, templates } = this.#deps;
    const userId = typeof authorizer === "string" ? parseUserId(authorizer) : null;
    if (userId === null || serverNameOf(userId) !== signer.serverName) {
      throw new MatrixError(400, "M_UNABLE_TO_AUTHORISE_JOIN", "The join is to be authorized by another server");
    }
    if (await templates.needsAuthorization(copy, event.sender)) {
      await templates.assertInAllowedRoom(copy, { userId: event.sender });
    }
    return { ...event, pdu: signEvent(event.pdu, { ...signer, rules: event.rules }) };
  }

  /** The state but for memberships, of which only those are given that name a room without a name. */
  async #withoutMembers(root: number, joined: StoredEvent): Promise<number[]> {
    const { state, events } = this.#deps;
    const others = await state.entries(root, "others");
    const isNamed = others.some(({ event: { type, stateKey, content } }) =>
      stateKey === "" && ((type === "m.room.name" && typeof content["name"] === "string" && content["name"] !== "") ||
        (type === "m.room.canonical_alias" && typeof content["alias"] === "string"))
    );
    const own = await state.get(root, "m.room.member", joined.event.sender);
    // With whoever authorizes the join: without that member it would not follow from the state.
    const authorizer = joined.event.content["join_authorised_via_users_server"];
    const voucher = typeof authorizer === "string" ? await state.get(root, "m.room.member", authorizer) : null;
    const named = new Set([own, voucher].flatMap((stored) => stored?.nid ?? []));
    const kept = [...others.map(({ nid }) => nid), ...named];
    if (isNamed) return kept;
    let heroes = 0;
    const members = await state.entryNids(root, "members");
    for (let start = 0; start < members.length && heroes < MAX_HEROES; start += HEROES_AT_ONCE) {
      for (const { nid, event } of (await events.byNid(members.slice(start, start + HEROES_AT_ONCE))).values()) {
        const membership = event.content["membership"];
        if (heroes >= MAX_HEROES || named.has(nid) || (membership !== "join" && membership !== "invite")) continue;
        kept.push(nid);
        heroes++;
      }
    }
    return kept;
  }
}

/** Reads a membership event that must be its sender's own; throws 400 for anything else. */
function readMembership(
  body: JsonObject,
  { copy, eventId, membership }: { copy: RoomCopy; eventId: EventId; membership: TemplateMembership },
): RoomEvent {
  const { roomId, rules } = copy.identity;
  const parsed = parsePdu(body, rules);
  if (!parsed.ok) throw badJson(parsed.reason);
  const { event } = parsed;
  if (event.type !== "m.room.member" || event.stateKey === null) throw badJson("The event is not a membership event");
  if (event.stateKey !== event.sender) throw badJson("The membership is not the sender's own");
  if (event.content["membership"] !== membership) throw badJson(`The membership is not "${membership}"`);
  if (event.roomId !== roomId) throw badJson("The event is of another room");
  if (event.eventId !== eventId) throw badJson("The event's id is not that in the path");
  if (!isJsonObject(event.pdu["hashes"]) || !checkContentHash(event.pdu)) throw badJson("The event's hash is not good");
  return event;
}
