/**
 * A server of the model: everything of a real one that decides about rooms and speaks with other servers. Requests go
 * through the real routes; only the transport and the proof of who asks are replaced.
 */
import type { FederationClient } from "../../src/federation/client.ts";
import type { KeyRing } from "../../src/federation/key_ring.ts";
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
import { isJsonObject } from "../../src/protocol/json.ts";
import type { Signer } from "../../src/protocol/signatures.ts";
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
import { openDatabase } from "../../src/storage/open_database.ts";
import type { TestDatabase } from "../harness/databases.ts";
import { openEngine, type TestEngine } from "../harness/engine.ts";
import type { FakeClock } from "../harness/fake_clock.ts";
import type { ModelNetwork } from "./servers.ts";

await setLogRoutes(consoleRoutes("critical"));
const log = getLogger("test");

interface StartOptions {
  readonly network: ModelNetwork;
  readonly signer: Signer;
  readonly clock: FakeClock;
  readonly randomText: RandomText;
  readonly database: TestDatabase;
}

/** What of a server does not outlive it. */
interface Running {
  readonly parts: TestEngine;
  readonly hosts: RoomHosts;
  readonly handler: RequestHandler;
}

/** A server of the model. */
export class ModelServer implements AsyncDisposable {
  readonly #options: StartOptions;
  #running: Running;

  private constructor(options: StartOptions, running: Running) {
    this.#options = options;
    this.#running = running;
  }

  /** Starts a server on its database. */
  static async start(options: StartOptions): Promise<ModelServer> {
    return new ModelServer(options, await run(options));
  }

  get name(): ServerName {
    return this.#options.signer.serverName;
  }

  get signer(): Signer {
    return this.#options.signer;
  }

  get parts(): TestEngine {
    return this.#running.parts;
  }

  get hosts(): RoomHosts {
    return this.#running.hosts;
  }

  /** Answers requests of other servers. */
  get handler(): RequestHandler {
    return this.#running.handler;
  }

  /** Ends the server and starts it again: what it knows is what its database says. */
  async restart(): Promise<void> {
    await this.parts.db[Symbol.asyncDispose]();
    this.#running = await run(this.#options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.parts.db[Symbol.asyncDispose]();
    await this.#options.database[Symbol.asyncDispose]();
  }
}

async function run({ network, signer, clock, randomText, database }: StartOptions): Promise<Running> {
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
  return { parts, hosts, handler };
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
