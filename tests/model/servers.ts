/**
 * Servers of the model: everything of a real one that decides about rooms and speaks with other servers, with a network in
 * memory between them that loses, holds back, doubles and reorders what is sent.
 *
 * Requests go through the real routes; only the transport and the proof of who asks are replaced. What is owed to others
 * comes from the real outbox, in transactions that the test delivers when it wants to.
 */
import { createHash } from "node:crypto";
import type { FederationClient } from "../../src/federation/client.ts";
import type { KeyNeed, KeyRing } from "../../src/federation/key_ring.ts";
import { RemoteError } from "../../src/federation/remote_error.ts";
import { RemoteEvents } from "../../src/federation/remote_events.ts";
import { RemoteMembership } from "../../src/federation/remote_membership.ts";
import { SignatureChecks } from "../../src/federation/signature_checks.ts";
import { createApp } from "../../src/http/app.ts";
import { inviteRoutes } from "../../src/http/federation/invites.ts";
import { federationMembershipRoutes } from "../../src/http/federation/memberships.ts";
import { roomReadRoutes } from "../../src/http/federation/room_reads.ts";
import type { FederationAuth } from "../../src/http/federation/signed.ts";
import { transactionRoutes } from "../../src/http/federation/transactions.ts";
import { createHandler, type RequestHandler } from "../../src/http/handler.ts";
import { consoleRoutes, getLogger, setLogRoutes } from "../../src/lib/log.ts";
import type { RandomText } from "../../src/lib/random.ts";
import { parseJsonStrict } from "../../src/protocol/canonical_json.ts";
import type { RoomId, ServerName } from "../../src/protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../../src/protocol/json.ts";
import { type Signer, signingKeyFromSeed, type VerifyKey } from "../../src/protocol/signatures.ts";
import { HandleInvites } from "../../src/rooms/handle_invites.ts";
import { HandleMemberships } from "../../src/rooms/handle_memberships.ts";
import { Inbound } from "../../src/rooms/inbound.ts";
import { Outbox } from "../../src/rooms/outbox.ts";
import { PduChecks } from "../../src/rooms/pdu_checks.ts";
import { PerformMemberships } from "../../src/rooms/perform_memberships.ts";
import { ResidentTemplates } from "../../src/rooms/resident_templates.ts";
import { RoomHosts } from "../../src/rooms/room_hosts.ts";
import { ServerAcls } from "../../src/rooms/server_acls.ts";
import { ServerReads } from "../../src/rooms/server_reads.ts";
import { ServerVisibility } from "../../src/rooms/server_visibility.ts";
import { Visibility } from "../../src/rooms/visibility.ts";
import { FederationInbox } from "../../src/services/federation_inbox.ts";
import {
  type OutboxEvent,
  selectFederationCursor,
  selectLatestOutboxFor,
  selectOutboxFor,
  updateFederationCursor,
} from "../../src/storage/federation_outbox.ts";
import { openDatabase } from "../../src/storage/open_database.ts";
import { createTestDatabase, type TestDatabase } from "../harness/databases.ts";
import { openEngine, type TestEngine } from "../harness/engine.ts";
import type { FakeClock } from "../harness/fake_clock.ts";

await setLogRoutes(consoleRoutes("critical"));
const log = getLogger("test");
const MAX_PDUS = 50;

/** A server of the model. */
export interface ModelServer extends AsyncDisposable {
  readonly name: ServerName;
  readonly signer: Signer;
  readonly parts: TestEngine;
  readonly hosts: RoomHosts;
  /** Answers requests of other servers. */
  readonly handler: RequestHandler;
}

/** How a transaction differs from what a good network would carry. */
export interface Delivery {
  /** The most events it takes. */
  readonly limit: number;
  /** Only the last event of each room is sent, as after a time in which the receiver was away. */
  readonly latestOnly?: boolean;
  /** Puts the events in another order. */
  readonly shuffle?: <T>(list: T[]) => T[];
  /** The events stay owed, so that they come again. */
  readonly isRepeated?: boolean;
}

/** Servers and the network between them. */
export class ModelNetwork implements AsyncDisposable {
  readonly servers: readonly ModelServer[];
  readonly #cut = new Set<string>();
  readonly #keys: ReadonlyMap<string, VerifyKey>;
  #transactions = 0;

  private constructor(servers: readonly ModelServer[], keys: ReadonlyMap<string, VerifyKey>) {
    this.servers = servers;
    this.#keys = keys;
  }

  /** Starts that many servers on empty databases. */
  static async start(
    count: number,
    { clock, randomText }: { clock: FakeClock; randomText: RandomText },
  ): Promise<ModelNetwork> {
    const servers: ModelServer[] = [];
    const keys = new Map<string, VerifyKey>();
    const network = new ModelNetwork(servers, keys);
    for (let index = 0; index < count; index++) {
      const serverName = `s${index}.test` as ServerName;
      const seed = createHash("sha256").update(serverName).digest();
      const signer = { serverName, key: signingKeyFromSeed("model", seed) };
      keys.set(serverName, signer.key.verifyKey);
      const database = await createTestDatabase("sqlite");
      servers.push(await startServer({ network, signer, clock, randomText, database }));
    }
    return network;
  }

  /** Parts servers, or joins them again. */
  setCut(one: ModelServer, two: ModelServer, isCut: boolean): void {
    for (const pair of [`${one.name} ${two.name}`, `${two.name} ${one.name}`]) {
      if (isCut) this.#cut.add(pair);
      else this.#cut.delete(pair);
    }
  }

  /** Joins all servers again. */
  heal(): void {
    this.#cut.clear();
  }

  /** Sends what is owed, as far as the delivery says. Returns how many events were taken. */
  async deliver(from: ModelServer, to: ModelServer, delivery: Delivery): Promise<number> {
    const { db, events } = from.parts;
    if (this.#cut.has(`${from.name} ${to.name}`)) return 0;
    const cursor = await selectFederationCursor(db, to.name);
    if (cursor === null) return 0;
    const range = { destination: to.name, after: cursor.events, limit: Math.min(MAX_PDUS, delivery.limit) };
    const owed: OutboxEvent[] = delivery.latestOnly
      ? await selectLatestOutboxFor(db, range)
      : await selectOutboxFor(db, range);
    const last = owed.at(-1);
    if (last === undefined) return 0;
    const found = await events.byNid(owed.map(({ eventNid }) => eventNid));
    const texts = owed.flatMap(({ eventNid }) => found.get(eventNid)?.json ?? []);
    const pdus = (delivery.shuffle?.(texts) ?? texts).map((text) => parseJsonStrict(text, { numbers: "exact" }));
    await this.request(from.name, {
      ...{ server: to.name, method: "PUT", path: `/_matrix/federation/v1/send/${++this.#transactions}` },
      body: { origin: from.name, pdus },
    });
    if (delivery.isRepeated) return 0;
    const moved = { destination: to.name, cursor: { ...cursor, events: last.position }, edusUpTo: 0 };
    await db.transaction((tx) => updateFederationCursor(tx, moved));
    return owed.length;
  }

  /** Delivers everything until nothing is owed. */
  async settle(): Promise<void> {
    for (let moved = 1; moved > 0;) {
      moved = 0;
      for (const from of this.servers) {
        for (const to of this.servers) if (from !== to) moved += await this.deliver(from, to, { limit: MAX_PDUS });
      }
    }
  }

  /** Asks a server as another one does. Throws `RemoteError`. */
  async request(
    origin: ServerName,
    { server, method, path, body }: { server: string; method: string; path: string; body?: JsonObject },
  ): Promise<JsonObject> {
    const target = this.servers.find(({ name }) => name === server);
    const failure = { server: server as ServerName, transient: true, reachable: false };
    if (target === undefined || this.#cut.has(`${origin} ${server}`)) throw new RemoteError("No way there", failure);
    const response = await target.handler(
      new Request(`http://${server}${path}`, {
        method,
        headers: { "x-model-origin": origin },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
      "127.0.0.1",
    );
    const answer = parseJsonStrict(await response.text(), { numbers: "exact" });
    if (!isJsonObject(answer)) throw new Error(`${server} answered ${path} with ${JSON.stringify(answer)}`);
    if (response.status >= 500) throw new Error(`${server} answered ${path} with ${JSON.stringify(answer)}`);
    if (response.status === 200) return answer;
    const { status } = response;
    throw new RemoteError(`${server} refused`, { ...failure, transient: false, reachable: true, status, body: answer });
  }

  /** The keys of all servers, known to all. */
  findKey({ serverName }: KeyNeed): Promise<VerifyKey | null> {
    return Promise.resolve(this.#keys.get(serverName) ?? null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.servers) await server[Symbol.asyncDispose]();
  }
}

interface StartOptions {
  readonly network: ModelNetwork;
  readonly signer: Signer;
  readonly clock: FakeClock;
  readonly randomText: RandomText;
  readonly database: TestDatabase;
}

async function startServer({ network, signer, clock, randomText, database }: StartOptions): Promise<ModelServer> {
  const db = await openDatabase(database.options);
  const { serverName } = signer;
  const outbox = new Outbox({ serverName });
  const parts = await openEngine(db, { signer, clock, randomText, onPersist: [outbox.onPersist] });
  const { engine, events, heads, state } = parts;
  const client = { request: network.request.bind(network, serverName) } as unknown as FederationClient;
  const signatures = new SignatureChecks({ find: network.findKey.bind(network) } as unknown as KeyRing);
  const checks = new PduChecks(signatures);
  const hosts = new RoomHosts({ db, events, state });
  const acls = new ServerAcls({ state });
  const visibility = new ServerVisibility({
    ...{ db, state },
    visibility: new Visibility({ state, events, isErased: () => false }),
  });
  const reads = new ServerReads({ db, events, state, hosts, acls, visibility, whole: { current: null } });
  const templates = new ResidentTemplates({ heads, state, hosts, acls, signer, clock });
  const membershipDeps = { db, engine, events, state, hosts, reads, visibility, templates, checks: signatures, signer };
  const inbound = new Inbound({ db, engine, events, remote: new RemoteEvents(client), checks, log });
  const remote = new RemoteMembership(client);
  engine.connect((deps) =>
    new PerformMemberships({ engine: deps, remote, checks, inbound, signatures, hosts, log, faster: null })
  );
  const isActive = () => Promise.resolve(true);
  const invites = engine.withDeps((deps) => new HandleInvites({ engine: deps, checks: signatures, acls, isActive }));
  const inbox = new FederationInbox({
    ...{ db, clock, log, events, inbound, checks, acls },
    localJoinedUsers: (roomId: RoomId) => engine.localJoinedUsers(roomId),
    outOfBand: invites.turnAway.bind(invites),
    receiveEdu: () => Promise.resolve(),
  });
  const app = createApp();
  const auth = trustingAuth();
  transactionRoutes(app, { auth, inbox });
  inviteRoutes(app, { auth, invites });
  roomReadRoutes(app, { auth, reads, serverName, clock });
  const memberships = new HandleMemberships(membershipDeps);
  federationMembershipRoutes(app, { auth, templates, memberships, serverName });
  const handler = createHandler({ app, clock, log }, {
    ...{ resources: new Set(["federation" as const]), xForwarded: false, requestIdHeader: null, name: "model" },
  });
  return {
    ...{ name: serverName, signer, parts, hosts, handler },
    async [Symbol.asyncDispose]() {
      await db[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** Believes who asks. */
function trustingAuth(): FederationAuth {
  const auth: Pick<FederationAuth, "answer"> = {
    async answer(c, { handler }) {
      const body = parseJsonStrict(await c.req.raw.text() || "{}", { numbers: "exact" });
      const origin = c.req.header("x-model-origin") as ServerName;
      return await handler(c, { origin, body: isJsonObject(body) ? body : {} });
    },
  };
  return auth as FederationAuth;
}
