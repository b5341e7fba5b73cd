/**
 * Membership events that users of other servers need to come, go and knock, made by us as a server in the room.
 * Spec: server-server API, "Joining Rooms", "Leaving Rooms" and "Knocking upon a room"; room version 8, "Restricted rooms".
 */
import type { Clock } from "../lib/clock.ts";
import { selectAuthKeys } from "../protocol/auth_events.ts";
import { authorizeEvent } from "../protocol/auth_rules.ts";
import { forbidden, MatrixError, notFound } from "../protocol/errors.ts";
import { type Pdu, type StateKey, stateKeyOf } from "../protocol/event.ts";
import { eventTemplate } from "../protocol/event_builder.ts";
import { hasReferencePairs, MAX_DEPTH, MAX_PREV_EVENTS } from "../protocol/event_format.ts";
import { referenceHash } from "../protocol/hashes.ts";
import { type EventId, type RoomId, type ServerName, serverNameOf, type UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import { verifyThirdPartyInvite } from "../protocol/membership_invite_signature.ts";
import { getActionLevel, getUserLevel } from "../protocol/power_levels.ts";
import type { Signer } from "../protocol/signatures.ts";
import { previewEvent } from "./build.ts";
import { allowedRooms } from "./membership_restricted.ts";
import type { RoomCopy, RoomHeads } from "./room_heads.ts";
import type { RoomHosts } from "./room_hosts.ts";
import type { ServerAcls } from "./server_acls.ts";
import type { StateReader } from "./state_reader.ts";

/** The memberships that others ask templates for. */
export type TemplateMembership = "join" | "leave" | "knock";

/** What templates are made from. */
export interface ResidentTemplatesDeps {
  readonly heads: RoomHeads;
  readonly state: StateReader;
  readonly hosts: RoomHosts;
  readonly acls: ServerAcls;
  readonly signer: Signer;
  readonly clock: Clock;
}

/** Who wants what. */
export interface TemplateRequest {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly membership: TemplateMembership;
  /** The room versions that the server knows; null where it is not asked to say. */
  readonly versions: readonly string[] | null;
}

const MEMBER = (userId: UserId) => stateKeyOf("m.room.member", userId);
const JOIN_RULES = stateKeyOf("m.room.join_rules", "");
const CREATE = stateKeyOf("m.room.create", "");
const POWER_LEVELS = stateKeyOf("m.room.power_levels", "");

/** Makes templates, and answers what restricted rooms ask. */
export class ResidentTemplates {
  readonly #deps: ResidentTemplatesDeps;

  constructor(deps: ResidentTemplatesDeps) {
    this.#deps = deps;
  }

  /** Returns a room that we are in and that the server is not shut out of. */
  async requireRoom(origin: ServerName, roomId: RoomId): Promise<RoomCopy> {
    const { heads, acls } = this.#deps;
    const copy = await heads.load(roomId);
    if (copy === null || copy.localJoined.size === 0) throw notFound("This server is not in the room");
    if (!await acls.isAllowed(roomId, origin)) throw forbidden("Server is banned from room");
    // As Synapse answers: the server asks another one, which knows all members.
    if (copy.isPartial) throw notFound("The room's state is not complete here yet");
    return copy;
  }

  /** Returns an event for the server to complete and sign, which the room would accept as it is now. */
  async make(
    origin: ServerName,
    { roomId, userId, membership, versions }: TemplateRequest,
  ): Promise<{ event: Pdu; roomVersion: string }> {
    if (serverNameOf(userId) !== origin) throw forbidden("The user is not of the server that asks");
    const copy = await this.requireRoom(origin, roomId);
    const { rules } = copy.identity;
    if ((versions !== null && !versions.includes(rules.id)) || (membership === "knock" && !rules.knocking)) {
      throw new MatrixError(400, "M_INCOMPATIBLE_ROOM_VERSION", "The room's version is not among those given", {
        room_version: rules.id,
      });
    }
    const extra = membership === "join" ? await this.#restrictedContent(copy, { origin, userId }) : {};
    const event = await this.#template(copy, { userId, content: { membership, ...extra } });
    return { event, roomVersion: rules.id };
  }

  /** Tells whether a join needs one of our users to authorize it: the user is neither in nor invited to a restricted room. */
  async needsAuthorization({ identity: { rules }, stateRoot }: RoomCopy, userId: UserId): Promise<boolean> {
    const found = await this.#deps.state.getMany(stateRoot, [JOIN_RULES, MEMBER(userId)]);
    const rule = found.get(JOIN_RULES)?.event.content["join_rule"];
    const isRestricted = (rule === "restricted" && rules.restrictedJoinRule) ||
      (rule === "knock_restricted" && rules.knockRestrictedJoinRule);
    const membership = found.get(MEMBER(userId))?.event.content["membership"];
    return isRestricted && membership !== "join" && membership !== "invite";
  }

  /** Throws unless the user is, as far as we can see, in one of the rooms whose members may join. */
  async assertInAllowedRoom({ stateRoot }: RoomCopy, { userId }: { userId: UserId }): Promise<void> {
    const { state, heads } = this.#deps;
    const rules = await state.get(stateRoot, "m.room.join_rules", "");
    let knowsAll = true;
    for (const roomId of allowedRooms(rules?.event.content["allow"])) {
      const copy = await heads.load(roomId);
      if (copy === null || copy.localJoined.size === 0) {
        knowsAll = false;
        continue;
      }
      const member = await state.get(copy.stateRoot, "m.room.member", userId);
      if (member?.event.content["membership"] === "join") return;
    }
    if (knowsAll) throw forbidden("You are in none of the rooms whose members may join");
    throw new MatrixError(
      400,
      "M_UNABLE_TO_AUTHORISE_JOIN",
      "This server does not know all rooms whose members may join",
    );
  }

  async #restrictedContent(
    copy: RoomCopy,
    { userId }: { origin: ServerName; userId: UserId },
  ): Promise<JsonObject> {
    const member = await this.#deps.state.get(copy.stateRoot, "m.room.member", userId);
    if (member?.event.content["membership"] === "ban" || !await this.needsAuthorization(copy, userId)) return {};
    await this.assertInAllowedRoom(copy, { userId });
    const authorizer = await this.#findAuthorizer(copy);
    if (authorizer !== null) return { join_authorised_via_users_server: authorizer };
    throw new MatrixError(400, "M_UNABLE_TO_GRANT_JOIN", "Nobody of this server may let users into the room");
  }

  async #findAuthorizer({ stateRoot, localJoined }: RoomCopy): Promise<UserId | null> {
    const found = await this.#deps.state.getMany(stateRoot, [CREATE, POWER_LEVELS]);
    const create = found.get(CREATE);
    if (create === undefined) return null;
    const levels = { create: create.event, powerLevels: found.get(POWER_LEVELS)?.event };
    const needed = getActionLevel(levels, "invite");
    let best: UserId | null = null;
    for (const userId of localJoined) {
      const level = getUserLevel(levels, userId);
      if (level >= needed && (best === null || level > getUserLevel(levels, best))) best = userId;
    }
    return best;
  }

  async #template(
    { identity: { rules, roomId }, extremities, stateRoot }: RoomCopy,
    { userId, content }: { userId: UserId; content: JsonObject },
  ): Promise<Pdu> {
    const { state, signer, clock } = this.#deps;
    const member = { type: "m.room.member", stateKey: userId, sender: userId, content };
    const prev = extremities.slice(0, MAX_PREV_EVENTS);
    const authState = await state.getMany(stateRoot, selectAuthKeys(rules, member));
    const auth = [...authState.values()];
    const now = clock.now();
    const decision = authorizeEvent({
      event: previewEvent(member, { rules, roomId, prev, auth, now, signer }),
      create: (await state.get(stateRoot, "m.room.create", ""))?.event ?? null,
      authState: (type, stateKey) => authState.get(stateKeyOf(type, stateKey) as StateKey)?.event,
      verifyThirdPartyInvite,
    });
    if (!decision.allowed) throw forbidden(decision.reason);
    const template = eventTemplate({
      ...{ rules, roomId, ...member, originServerTs: now },
      depth: Math.min(MAX_DEPTH, 1 + Math.max(0, ...prev.map(({ event }) => event.depth))),
      prevEvents: prev.map(({ event }) => event.eventId),
      authEvents: auth.map(({ event }) => event.eventId),
      ...(hasReferencePairs(rules)
        ? {
          eventId: "$:" as EventId,
          referenceHashes: new Map(
            [...prev, ...auth].map(({ event }) => [event.eventId, referenceHash(event.pdu, rules)]),
          ),
        }
        : {}),
    });
    // The server that completes the event gives it its id.
    delete template["event_id"];
    return template;
  }
}
