/** Telling others the keys of third servers. Spec: server-server API, "Querying Keys Through Another Server". */
import type { Clock } from "../lib/clock.ts";
import type { ServerName } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import { type Signer, signJson } from "../protocol/signatures.ts";
import type { Db } from "../storage/database.ts";
import { selectKeyDocuments, type StoredKeyDocument } from "../storage/server_keys.ts";
import type { KeyFetcher } from "./key_fetcher.ts";
import type { KeyRing } from "./key_ring.ts";
import type { LocalKeys } from "./local_keys.ts";

/** Which keys of a server are asked for; without key ids all of them. */
export interface NotaryQuery {
  readonly serverName: ServerName;
  /** With the time until which each should be valid. */
  readonly keyIds: ReadonlyMap<string, number>;
  /** The same for all, where no key is named. */
  readonly minValidUntilTs: number;
}

/** What the notary is built from. */
export interface NotaryDeps {
  readonly db: Db;
  readonly clock: Clock;
  readonly local: LocalKeys;
  readonly keys: KeyRing;
  readonly fetcher: KeyFetcher;
  /** Signs what is passed on: `key_server_signing_keys_path`, or the server's own key. */
  readonly signer: Signer;
  /** Tells whether `federation_domain_whitelist` lets us talk to a server. */
  readonly isAllowed: (server: ServerName) => boolean;
}

const MAX_DOCUMENTS = 20;
const MIN_REFETCH_MS = 60_000;

/** Passes on keys. */
export class KeyNotary {
  readonly #deps: NotaryDeps;

  constructor(deps: NotaryDeps) {
    this.#deps = deps;
  }

  /** Returns the documents that answer the queries, each with our signature added. */
  async query(queries: readonly NotaryQuery[]): Promise<JsonObject[]> {
    const found = await Promise.all(queries.map((query) => this.#documentsOf(query)));
    return found.flat().map((document) => signJson(document, this.#deps.signer));
  }

  async #documentsOf(query: NotaryQuery): Promise<JsonObject[]> {
    const { local, signer, isAllowed } = this.#deps;
    if (query.serverName === signer.serverName) return [local.document()];
    const known = await this.#stored(query);
    if (!this.#isStale(known, query) || !isAllowed(query.serverName)) return distinct(known);
    const document = await this.#deps.fetcher.fromServer(query.serverName, { ignoreBackoff: false });
    if (document === null) return distinct(known);
    await this.#deps.keys.learn({ document, isDirect: true });
    return distinct(await this.#stored(query));
  }

  async #stored({ serverName, keyIds }: NotaryQuery): Promise<StoredKeyDocument[]> {
    const wanted = keyIds.size === 0 ? null : [...keyIds.keys()];
    return await selectKeyDocuments(this.#deps.db, { serverName, keyIds: wanted, limit: MAX_DOCUMENTS });
  }

  /** A document is fetched anew when it lacks a key or time, or half of its life is over; not more than once a minute. */
  #isStale(known: readonly StoredKeyDocument[], { keyIds, minValidUntilTs }: NotaryQuery): boolean {
    const now = this.#deps.clock.now();
    const [newest] = known;
    if (newest === undefined) return true;
    if (newest.fetchedTs > now - MIN_REFETCH_MS) return false;
    if (now > (newest.fetchedTs + newest.validUntilTs) / 2) return true;
    if (keyIds.size === 0) return newest.validUntilTs < minValidUntilTs;
    return [...keyIds].some(([keyId, validUntil]) => {
      const document = known.find((candidate) => candidate.keyId === keyId);
      return document === undefined || document.validUntilTs < validUntil;
    });
  }
}

/** Documents list several keys, so the same one may be stored for each. */
function distinct(documents: readonly StoredKeyDocument[]): JsonObject[] {
  const texts = new Set(documents.map(({ json }) => json));
  return [...texts].map((json) => JSON.parse(json) as JsonObject);
}
