/**
 * Servers of the model with a network in memory between them, that loses, holds back, doubles and reorders what is sent.
 * What is owed to others comes from the real outbox, in transactions that the test delivers when it wants to.
 */
import { createHash } from "node:crypto";
import type { KeyNeed } from "../../src/federation/key_ring.ts";
import { RemoteError } from "../../src/federation/remote_error.ts";
import type { RandomText } from "../../src/lib/random.ts";
import { parseJsonStrict } from "../../src/protocol/canonical_json.ts";
import type { ServerName } from "../../src/protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../src/protocol/json.ts";
import { signingKeyFromSeed, type VerifyKey } from "../../src/protocol/signatures.ts";
import {
  type OutboxEvent,
  selectFederationCursor,
  selectLatestOutboxFor,
  selectOutboxFor,
  updateFederationCursor,
} from "../../src/storage/federation_outbox.ts";
import { createTestDatabase } from "../harness/databases.ts";
import type { FakeClock } from "../harness/fake_clock.ts";
import { ModelServer } from "./server.ts";

const MAX_PDUS = 50;

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
      servers.push(await ModelServer.start({ network, signer, clock, randomText, database }));
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
    await this.transact(from.name, { server: to.name, pdus });
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

  /** Sends events in a transaction. Throws `RemoteError`. */
  async transact(origin: ServerName, { server, pdus }: { server: ServerName; pdus: JsonValue[] }): Promise<void> {
    await this.request(origin, {
      ...{ server, method: "PUT", path: `/_matrix/federation/v1/send/${++this.#transactions}` },
      body: { origin, pdus },
    });
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
