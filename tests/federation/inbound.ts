/** Our side of federation on a real port, for tests that ask it as another server would. */
import assert from "node:assert/strict";
import { createApp } from "../../src/http/app.ts";
import type { App } from "../../src/http/app.ts";
import { createHandler } from "../../src/http/handler.ts";
import { defaultConfig } from "../../src/config/load.ts";
import type { Clock } from "../../src/lib/clock.ts";
import { getLogger } from "../../src/lib/log.ts";
import { canonicalJson } from "../../src/protocol/canonical_json.ts";
import type { RoomEvent } from "../../src/protocol/event.ts";
import { parsePdu } from "../../src/protocol/event_format.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import { getRoomVersion, type RoomVersionId } from "../../src/protocol/room_versions.ts";
import { hashAndSignEvent, type Signer, signJson } from "../../src/protocol/signatures.ts";
import type { Dns } from "../../src/federation/dns.ts";
import { authorize } from "../../src/federation/x_matrix.ts";
import { addFederationRoutes, buildFederation, type FederationParts } from "../../src/server/federation.ts";
import type { Core } from "../../src/server/core.ts";
import type { Database } from "../../src/storage/database.ts";
import { CA_PATH } from "./certificates.ts";
import { server, signerOf, TestClock, testDns } from "./environment.ts";

// deno-lint-ignore no-explicit-any
type Json = any;

/** What a server answered. */
export interface Answer {
  readonly status: number;
  readonly body: Json;
}

/** A running inbound side. */
export interface Inbound extends AsyncDisposable {
  readonly parts: FederationParts;
  readonly base: string;
  /** Sends a request as it is. */
  fetch(path: string, init?: RequestInit): Promise<Answer>;
}

/** How the inbound side differs from the usual. */
export interface InboundOptions {
  readonly db: Database;
  readonly clock?: Clock;
  readonly dns?: Dns;
  readonly config?: Readonly<Record<string, unknown>>;
  /** Registers more endpoints. */
  readonly routes?: (app: App, parts: FederationParts) => void;
}

/** Starts the inbound side of the server `own.test`. */
export async function startInbound(
  { db, clock = new TestClock(), dns = testDns(), config, routes }: InboundOptions,
): Promise<Inbound> {
  const usual = { federation_custom_ca_list: [CA_PATH], ip_range_blacklist: [], trusted_key_servers: [], ...config };
  const signer = signerOf("own.test");
  const core = { db, clock, signer, config: defaultConfig("own.test", usual) } as Core;
  const parts = await buildFederation(core, { dns });
  const app = createApp();
  addFederationRoutes(app, parts, core);
  routes?.(app, parts);
  const handler = createHandler({ app, clock, log: getLogger("test") }, {
    resources: new Set(["federation", "keys", "openid", "media"]),
    xForwarded: false,
    requestIdHeader: null,
    name: "test",
  });
  const listener = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (r) => handler(r, "127.0.0.1"));
  const base = `http://127.0.0.1:${listener.addr.port}`;
  return {
    ...{ parts, base },
    async fetch(path, init) {
      const response = await fetch(base + path, init);
      return { status: response.status, body: await response.json() };
    },
    async [Symbol.asyncDispose]() {
      await listener.shutdown();
      await parts.connections[Symbol.asyncDispose]();
    },
  };
}

/** Sends a signed request, as `signer`'s server would. `change` alters the header. */
// deno-lint-ignore synapse-ts/max-positional -- who asks whom for what
export async function askAs(
  signer: Signer,
  inbound: Pick<Inbound, "fetch">,
  request: {
    method?: string;
    path: string;
    body?: JsonObject;
    destination?: string;
    change?: (header: string) => string;
  },
): Promise<Answer> {
  const { path, body, destination = "own.test", change = (header: string) => header } = request;
  const method = request.method ?? (body === undefined ? "GET" : "PUT");
  const bodyText = body === undefined ? null : canonicalJson(body, { lax: true });
  const authorization = change(authorize({ method, uri: path, destination, bodyText }, signer));
  return await inbound.fetch(path, {
    method,
    headers: { authorization },
    ...(bodyText === null ? {} : { body: bodyText }),
  });
}

/** What a key document says, where it differs from a usual one. */
export interface DocumentOptions {
  readonly validUntilTs: number;
  /** Retired keys by id, with the time. */
  readonly old?: Readonly<Record<string, { key: string; expired_ts: number }>>;
}

/** Returns the signed document in which a server publishes its key. */
export function keyDocument(signer: Signer, { validUntilTs, old = {} }: DocumentOptions): JsonObject {
  return signJson({
    server_name: signer.serverName,
    verify_keys: { [signer.key.keyId]: { key: signer.key.verifyKey.base64 } },
    old_verify_keys: old as JsonObject,
    valid_until_ts: validUntilTs,
  }, signer);
}

/** Returns the signer of a peer that listens on a port, with the version of its key. */
export function peerSigner(port: number, version = "1"): Signer {
  return signerOf(server(`peer.test:${port}`), version);
}

/** Returns a message of a server, made at `ts` by its own clock. */
export function eventBy(signer: Signer, { version, ts }: { version: RoomVersionId; ts: number }): RoomEvent {
  const rules = getRoomVersion(version);
  assert(rules !== null);
  const pdu = hashAndSignEvent({
    ...{ type: "m.room.message", sender: `@u:${signer.serverName}`, room_id: "!r:x.test", content: {}, depth: 5 },
    ...{ origin_server_ts: ts, prev_events: [], auth_events: [], hashes: { sha256: "" }, signatures: {} },
    ...(version === "1" ? { event_id: `$e:${signer.serverName}` } : {}),
  }, { ...signer, rules });
  const parsed = parsePdu(pdu, rules);
  assert(parsed.ok, parsed.ok ? "" : parsed.reason);
  return parsed.event;
}
