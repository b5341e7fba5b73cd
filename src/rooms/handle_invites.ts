/**
 * Invitations of our users to rooms of other servers, and their ends. Spec: server-server API, "Inviting to a room".
 */
import type { SignatureChecks } from "../federation/signature_checks.ts";
import { domainOf } from "../protocol/auth_rules_context.ts";
import { badJson, forbidden, invalidParam, MatrixError } from "../protocol/errors.ts";
import { parsePdu, pduJson } from "../protocol/event_format.ts";
import { checkContentHash } from "../protocol/hashes.ts";
import { type EventId, parseUserId, type RoomId, type ServerName, type UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import { getRoomVersion } from "../protocol/room_versions.ts";
import { signEvent } from "../protocol/signatures.ts";
import { stripReceivedList } from "../protocol/stripped_state.ts";
import { type LocalMembership, selectLocalMembership } from "../storage/local_memberships.ts";
import { assertNotBlocked } from "./blocked_rooms.ts";
import type { EngineDeps } from "./engine_deps.ts";
import type { RoomIdentity } from "./event_store.ts";
import { recordOutOfBand } from "./out_of_band.ts";
import { ensureRoom } from "./place_join.ts";
import type { ReceivedEvent } from "./receive.ts";
import type { ServerAcls } from "./server_acls.ts";

/** What invitations are handled with. */
export interface HandleInvitesDeps {
  readonly engine: EngineDeps;
  readonly checks: SignatureChecks;
  readonly acls: ServerAcls;
  /** Tells whether a local user has an account that can be used. */
  readonly isActive: (userId: UserId) => Promise<boolean>;
}

/** An invitation as a server sent it. */
export interface SentInvite {
  readonly roomId: RoomId;
  readonly eventId: EventId;
  readonly roomVersion: string;
  readonly pdu: JsonValue | undefined;
  readonly roomState: JsonValue | undefined;
}

/** Handles invitations. */
export class HandleInvites {
  readonly #deps: HandleInvitesDeps;

  constructor(deps: HandleInvitesDeps) {
    this.#deps = deps;
  }

  /** Shows an invitation to the invited user; returns the text of the event with our signature. */
  async invite(origin: ServerName, { roomId, eventId, roomVersion, pdu, roomState }: SentInvite): Promise<string> {
    const { engine, checks, acls } = this.#deps;
    if (!await acls.isAllowed(roomId, origin)) throw forbidden("Server is banned from room");
    const rules = getRoomVersion(roomVersion);
    if (rules === null) {
      throw new MatrixError(400, "M_INCOMPATIBLE_ROOM_VERSION", `Room version ${roomVersion} is not supported here`, {
        room_version: roomVersion,
      });
    }
    const parsed = parsePdu(pdu, rules);
    if (!parsed.ok) throw badJson(parsed.reason);
    const { event } = parsed;
    if (event.type !== "m.room.member" || event.content["membership"] !== "invite") {
      throw badJson("The event is not an invitation");
    }
    if (event.roomId !== roomId || event.eventId !== eventId) throw badJson("The event is not that of the path");
    if (domainOf(event.sender) !== origin) throw forbidden("The inviter is not of the server that sends the event");
    if (!checkContentHash(event.pdu)) throw badJson("The event's hash is not good");
    const target = event.stateKey === null ? null : parseUserId(event.stateKey);
    if (target === null || domainOf(target) !== engine.serverName) {
      throw invalidParam("The invited user is not of this server");
    }
    await assertNotBlocked(engine.db, roomId);
    if (engine.options.blocksInvites === true) throw forbidden("This server does not accept room invites");
    await this.#assertWanted({ sender: event.sender, target });
    const unsigned = await checks.event(event);
    if (unsigned !== null) throw forbidden(`The event has no good signature of "${unsigned}"`);
    const signed = { ...event, pdu: signEvent(event.pdu, { ...engine.signer, rules }) };
    const received = { event: signed, json: pduJson(signed) };
    await ensureRoom(engine, { roomId, rules });
    await recordOutOfBand(engine, { roomId, received, strippedState: stripReceivedList(roomState) });
    return received.json;
  }

  /** Takes in that a user of ours was turned away from a room that we are not in; false for any other event. */
  async turnAway(_origin: ServerName, room: RoomIdentity, received: ReceivedEvent): Promise<boolean> {
    const { engine } = this.#deps;
    const { event } = received;
    const membership = event.content["membership"];
    if (event.type !== "m.room.member" || (membership !== "leave" && membership !== "ban")) return false;
    const userId = event.stateKey === null ? null : parseUserId(event.stateKey);
    if (userId === null || domainOf(userId) !== engine.serverName) return false;
    const own = await selectLocalMembership(engine.db, { userId, roomId: room.roomId });
    if (own === null || (own.membership !== "invite" && own.membership !== "knock")) return false;
    if (!isBelievable(event.sender, { own, roomId: room.roomId })) return false;
    return await recordOutOfBand(engine, { roomId: room.roomId, received, strippedState: null });
  }

  async #assertWanted(invite: { sender: UserId; target: UserId }): Promise<void> {
    const { engine, isActive } = this.#deps;
    if (!await isActive(invite.target)) throw forbidden("There is no such user");
    if (await engine.decideInvite?.(invite) === "block") {
      throw new MatrixError(403, "M_INVITE_BLOCKED", "The user does not accept this invitation");
    }
  }
}

/**
 * Whether somebody may end a membership in a room whose power levels are not known here: who invited takes that back, and
 * a knock is refused by one of the servers that are known to be in the room.
 */
function isBelievable(sender: UserId, { own, roomId }: { own: LocalMembership; roomId: RoomId }): boolean {
  if (own.membership === "invite") return sender === own.sender;
  return new Set([domainOf(roomId), ...domainsIn(own.strippedState)]).has(domainOf(sender));
}

/** The servers of those whose state the user was shown. */
function domainsIn(strippedState: string | null): string[] {
  const events: JsonValue = JSON.parse(strippedState ?? "[]");
  const senders = (Array.isArray(events) ? events : []).map((event) => isJsonObject(event) ? event["sender"] : null);
  return senders.flatMap((sender) => {
    const domain = typeof sender === "string" ? domainOf(sender) : null;
    return domain === null ? [] : [domain];
  });
}

/** Returns what the first version of the endpoint carries: the event alone, with the state in its `unsigned`. */
export function readInviteV1(body: JsonObject): { pdu: JsonObject; roomState: JsonValue | undefined } {
  const unsigned = body["unsigned"];
  return { pdu: body, roomState: isJsonObject(unsigned) ? unsigned["invite_room_state"] : undefined };
}
