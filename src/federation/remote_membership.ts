/** Asking servers in a room to let us in, out, or know. Spec: server-server API, "Joining Rooms" and the like. */
import type { Pdu } from "../protocol/event.ts";
import { type EventId, parseServerName, type RoomId, type ServerName, type UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import { getRoomVersion, type RoomVersionRules } from "../protocol/room_versions.ts";
import type { FederationClient } from "./client.ts";
import { badAnswer, RemoteError } from "./remote_error.ts";

/** The memberships that are asked for in two steps. */
export type AskedMembership = "join" | "leave" | "knock";

/** An event for us to complete, and what room it is of. */
export interface MembershipTemplate {
  readonly rules: RoomVersionRules;
  readonly event: JsonObject;
}

/** What comes with a join: unchecked PDUs. */
export interface SentJoin {
  /** The join as the server accepted it, where it says. */
  readonly event: JsonObject | null;
  readonly state: readonly JsonValue[];
  readonly authChain: readonly JsonValue[];
  readonly membersOmitted: boolean;
  readonly serversInRoom: readonly ServerName[];
}

/** The room is of a version that is not known here, or not what the server says. */
export class UnsupportedVersion extends Error {
  override readonly name = "UnsupportedVersion";
  readonly roomVersion: string;

  constructor(roomVersion: string) {
    super(`Room version ${roomVersion} is not supported`);
    this.roomVersion = roomVersion;
  }
}

const MAX_JOIN_BYTES = 512 * 1024 * 1024;
const JOIN_TIMEOUT_MS = 180_000;
const ASK_TIMEOUT_MS = 20_000;
const COMPLEXITY_TIMEOUT_MS = 10_000;
const MAX_SERVERS = 100_000;
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/** Typed requests about memberships. All throw `RemoteError`. */
export class RemoteMembership {
  readonly #client: FederationClient;

  constructor(client: FederationClient) {
    this.#client = client;
  }

  /** Returns a template for a membership event. */
  async make(
    server: ServerName,
    { membership, roomId, userId, versions }: {
      membership: AskedMembership;
      roomId: RoomId;
      userId: UserId;
      versions: readonly string[];
    },
  ): Promise<MembershipTemplate> {
    const query = membership === "leave" ? "" : `?${new URLSearchParams(versions.map((version) => ["ver", version]))}`;
    const path = `/_matrix/federation/v1/make_${membership}/${part(roomId)}/${part(userId)}${query}`;
    const answer = await this.#client.request({
      ...{ server, method: "GET", path, timeoutMs: ASK_TIMEOUT_MS },
      exactNumbers: true,
      ignoreBackoff: true,
    });
    const version = typeof answer["room_version"] === "string" ? answer["room_version"] : "1";
    const rules = getRoomVersion(version);
    if (rules === null) throw new UnsupportedVersion(version);
    if (!isJsonObject(answer["event"])) throw badAnswer(server, "The answer has no event");
    return { rules, event: answer["event"] };
  }

  /** Returns how big a server says a room is, or null when it does not. */
  async complexity(server: ServerName, roomId: RoomId): Promise<number | null> {
    const path = `/_matrix/federation/unstable/rooms/${part(roomId)}/complexity`;
    const { v1 } = await this.#client.request({ server, method: "GET", path, timeoutMs: COMPLEXITY_TIMEOUT_MS });
    return typeof v1 === "number" && v1 >= 0 ? v1 : null;
  }

  /** Sends a join and returns the room. */
  async sendJoin(
    server: ServerName,
    { roomId, eventId, pdu, omitMembers }: { roomId: RoomId; eventId: EventId; pdu: Pdu; omitMembers: boolean },
  ): Promise<SentJoin> {
    const path = `/_matrix/federation/v2/send_join/${part(roomId)}/${part(eventId)}?omit_members=${omitMembers}`;
    const answer = await this.#client.request({
      ...{ server, method: "PUT", path, body: pdu, timeoutMs: JOIN_TIMEOUT_MS },
      ...{ maxBytes: MAX_JOIN_BYTES, exactNumbers: true, ignoreBackoff: true },
    });
    const { state, auth_chain: authChain, event, servers_in_room: servers } = answer;
    if (!Array.isArray(state) || !Array.isArray(authChain)) throw badAnswer(server, "The answer has no state");
    const names = Array.isArray(servers) ? servers.slice(0, MAX_SERVERS) : [];
    return {
      state,
      authChain,
      event: isJsonObject(event) ? event : null,
      membersOmitted: answer["members_omitted"] === true,
      serversInRoom: names.map((name) => typeof name === "string" ? parseServerName(name) : null)
        .filter((name) => name !== null),
    };
  }

  /** Sends a leave. */
  async sendLeave(
    server: ServerName,
    { roomId, eventId, pdu }: { roomId: RoomId; eventId: EventId; pdu: Pdu },
  ): Promise<void> {
    const path = `/_matrix/federation/v2/send_leave/${part(roomId)}/${part(eventId)}`;
    await this.#client.request({ server, method: "PUT", path, body: pdu, ignoreBackoff: true });
  }

  /** Sends a knock and returns what the room shows of itself. */
  async sendKnock(
    server: ServerName,
    { roomId, eventId, pdu }: { roomId: RoomId; eventId: EventId; pdu: Pdu },
  ): Promise<JsonValue | undefined> {
    const path = `/_matrix/federation/v1/send_knock/${part(roomId)}/${part(eventId)}`;
    const request = { server, method: "PUT", path, body: pdu, ignoreBackoff: true } as const;
    const answer = await this.#client.request({ ...request, maxBytes: MAX_ANSWER_BYTES, exactNumbers: true });
    return answer["knock_room_state"];
  }

  /** Asks the server of whoever invited an address to invite the user who has it. */
  async exchangeThirdPartyInvite(
    server: ServerName,
    { roomId, event }: { roomId: RoomId; event: JsonObject },
  ): Promise<void> {
    const path = `/_matrix/federation/v1/exchange_third_party_invite/${part(roomId)}`;
    await this.#client.request({ server, method: "PUT", path, body: event, ignoreBackoff: true });
  }

  /** Sends an invitation to the server of the invited user and returns the event with its signature. */
  async invite(
    server: ServerName,
    { roomId, eventId, pdu, rules, roomState }: {
      roomId: RoomId;
      eventId: EventId;
      pdu: Pdu;
      rules: RoomVersionRules;
      roomState: readonly JsonObject[];
    },
  ): Promise<JsonObject> {
    const place = `${part(roomId)}/${part(eventId)}`;
    const usual = {
      server,
      method: "PUT",
      exactNumbers: true,
      ignoreBackoff: true,
      timeoutMs: ASK_TIMEOUT_MS,
    } as const;
    try {
      const answer = await this.#client.request({
        ...usual,
        path: `/_matrix/federation/v2/invite/${place}`,
        body: { event: pdu, invite_room_state: [...roomState], room_version: rules.id },
      });
      if (isJsonObject(answer["event"])) return answer["event"];
    } catch (error) {
      if (!isUnknownEndpoint(error) || rules.eventIdFormat !== "server_assigned") throw error;
      const body = { ...pdu, unsigned: { invite_room_state: [...roomState] } };
      const answer: unknown = (await this.#client.request({
        ...{ ...usual, path: `/_matrix/federation/v1/invite/${place}`, body },
      }))["event"];
      if (isJsonObject(answer)) return answer;
    }
    throw badAnswer(server, "The answer has no event");
  }
}

function isUnknownEndpoint(error: unknown): boolean {
  return error instanceof RemoteError && (error.status === 404 || error.status === 405) &&
    (error.errcode === null || error.errcode === "M_UNRECOGNIZED");
}

function part(text: string): string {
  return encodeURIComponent(text);
}
