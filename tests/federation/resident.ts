/** A whole server that others ask over federation, and a peer whose user may join its rooms. */
import assert from "node:assert/strict";
import { createApp } from "../../src/http/app.ts";
import { ArrivingBodies } from "../../src/http/middleware/arriving_bodies.ts";
import { createHandler, type RequestHandler } from "../../src/http/handler.ts";
import { getLogger } from "../../src/lib/log.ts";
import { type Clock, systemClock } from "../../src/lib/clock.ts";
import { parsePdu, pduJson } from "../../src/protocol/event_format.ts";
import type { Pdu, RoomEvent } from "../../src/protocol/event.ts";
import type { UserId } from "../../src/protocol/ids.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import { getRoomVersion, listRoomVersions } from "../../src/protocol/room_versions.ts";
import { hashAndSignEvent, type Signer } from "../../src/protocol/signatures.ts";
import { addFederationRoutes, buildFederation, type FederationParts } from "../../src/server/federation.ts";
import { addFederationExchangeRoutes } from "../../src/server/federation_exchange.ts";
import {
  addFederationRoomRoutes,
  buildFederationRooms,
  type FederationRoomParts,
} from "../../src/server/federation_rooms.ts";
import type { TestDatabase } from "../harness/databases.ts";
import { SERVER_NAME, TestServer } from "../harness/server.ts";
import { CA_PATH } from "./certificates.ts";
import { testDns } from "./environment.ts";
import { type Answer, askAs, keyDocument, peerSigner } from "./inbound.ts";
import { type Peer, startPeer } from "./peer.ts";

/** A server with a federation listener. */
export interface Resident extends AsyncDisposable {
  readonly hs: TestServer;
  readonly federation: FederationParts;
  readonly rooms: FederationRoomParts;
  readonly peer: Peer;
  readonly signer: Signer;
  /** The bodies of requests that are arriving. */
  readonly arriving: ArrivingBodies;
  /** Answers requests to the federation listener. */
  readonly handler: RequestHandler;
  /** Where the federation listener is. */
  readonly base: string;
  /** Sends a request without a signature. */
  fetch(path: string, init?: RequestInit): Promise<Answer>;
  /** Asks as the peer. A body makes it a PUT unless a method is given. */
  ask(path: string, body?: JsonObject, options?: { method?: string; signer?: Signer }): Promise<Answer>;
  /** Joins a room as a user of the peer and returns the join event. */
  join(roomId: string, localpart?: string): Promise<{ event: RoomEvent; answer: Answer }>;
}

const DAY = 86_400_000;
/** All room versions, as the query of `make_join`. */
export const ALL_VERSIONS = listRoomVersions().map(({ id }) => `ver=${id}`).join("&");

/** Starts one; `config` adds to its configuration and may need the peer's name. */
export async function startResident(
  database: TestDatabase,
  config: Record<string, unknown> | ((peer: string) => Record<string, unknown>) = {},
  { clock }: { clock?: Clock } = {},
): Promise<Resident> {
  const peer = await startPeer();
  const signer = peerSigner(peer.port);
  const own = typeof config === "function" ? config(signer.serverName) : config;
  const usual = { federation_custom_ca_list: [CA_PATH], ip_range_blacklist: [], trusted_key_servers: [] };
  const hs = await TestServer.start({
    ...{ database, dns: testDns(), config: { ...usual, ...own } },
    ...(clock === undefined ? {} : { clock }),
  });
  const { core } = hs.parts;
  const federation = await buildFederation(core, { dns: testDns() });
  const federationRooms = buildFederationRooms(core, { ...hs.parts, federation });
  const app = createApp();
  addFederationRoutes(app, federation, core);
  const { media, rooms, userData } = hs.parts;
  addFederationRoomRoutes(app, { core, federation, federationRooms, media, rooms, userData });
  addFederationExchangeRoutes(app, { core, federation, exchange: hs.parts.exchange });
  const arriving = new ArrivingBodies();
  const handler = createHandler({ app, arriving, clock: systemClock, log: getLogger("test") }, {
    ...{ resources: new Set(["federation", "keys", "openid"]), xForwarded: false, requestIdHeader: null, name: "test" },
  });
  const listener = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (r) => handler(r, "127.0.0.1"));
  peer.handler = () => ({ json: keyDocument(signer, { validUntilTs: Date.now() + DAY }) });

  const base = `http://127.0.0.1:${listener.addr.port}`;
  async function fetchJson(path: string, init?: RequestInit): Promise<Answer> {
    const response = await fetch(`${base}${path}`, init);
    return { status: response.status, body: await response.json() };
  }

  const resident: Resident = {
    ...{ hs, federation, rooms: federationRooms, peer, signer, arriving, handler, base, fetch: fetchJson },
    async ask(path, body, options = {}) {
      const request = { path: `/_matrix/federation${path}`, destination: SERVER_NAME };
      const { method, signer: by = signer } = options;
      const extra = { ...(body === undefined ? {} : { body }), ...(method === undefined ? {} : { method }) };
      return await askAs(by, { fetch: fetchJson }, { ...request, ...extra });
    },
    async join(roomId, localpart = "bob") {
      const userId = `@${localpart}:${signer.serverName}` as UserId;
      const made = await resident.ask(`/v1/make_join/${enc(roomId)}/${enc(userId)}?${ALL_VERSIONS}`);
      assert.equal(made.status, 200, JSON.stringify(made.body));
      const event = complete(made.body, signer);
      const answer = await resident.ask(
        `/v2/send_join/${enc(roomId)}/${enc(event.eventId)}`,
        JSON.parse(pduJson(event)),
      );
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
      return { event, answer };
    },
    async [Symbol.asyncDispose]() {
      await listener.shutdown();
      await federation.connections[Symbol.asyncDispose]();
      await peer[Symbol.asyncDispose]();
      await hs[Symbol.asyncDispose]();
    },
  };
  return resident;
}

/** Percent-encodes a part of a path. */
export function enc(text: string): string {
  return encodeURIComponent(text);
}

/** Completes a template as its server does. `change` alters it first. */
export function complete(
  { event, room_version: version }: { event: JsonObject; room_version: string },
  signer: Signer,
): RoomEvent {
  const rules = getRoomVersion(version);
  assert(rules !== null);
  const id = rules.eventIdFormat === "server_assigned"
    ? { event_id: `$made${Math.random()}:${signer.serverName}` }
    : {};
  const template = { ...event, ...id, signatures: {}, hashes: {} };
  const parsed = parsePdu(hashAndSignEvent(template as unknown as Pdu, { ...signer, rules }), rules);
  assert(parsed.ok, parsed.ok ? "" : parsed.reason);
  return parsed.event;
}
