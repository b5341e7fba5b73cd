/**
 * Fetching keys of other servers: from the servers themselves, and from notaries (`trusted_key_servers`). Spec:
 * server-server API, "Retrieving server keys".
 */
import type { Logger } from "../lib/log.ts";
import { Semaphore } from "../lib/semaphore.ts";
import type { ServerName } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import { verifyJson, type VerifyKey } from "../protocol/signatures.ts";
import type { FederationClient } from "./client.ts";
import { type KeyDocument, readKeyDocument } from "./key_document.ts";

/** A server that is trusted to tell the keys of others. */
export interface Notary {
  readonly serverName: ServerName;
  /** Its own keys by id, one of which must have signed; null relies on its certificate. */
  readonly verifyKeys: ReadonlyMap<string, VerifyKey> | null;
}

/** Which keys of one server are looked for, and until when they should be valid. */
export interface WantedKeys {
  readonly serverName: ServerName;
  readonly keyIds: readonly string[];
  readonly minValidUntilTs: number;
}

/** A document, and whether the server itself gave it to us. */
export interface FetchedDocument {
  readonly document: KeyDocument;
  readonly isDirect: boolean;
}

/** What fetching is built from. */
export interface KeyFetcherDeps {
  readonly client: FederationClient;
  readonly notaries: readonly Notary[];
  readonly log: Logger;
}

const FETCH_TIMEOUT_MS = 10_000;
const MAX_DOCUMENT_BYTES = 65_536;
const MAX_DIRECT = 32;
const SERVERS_PER_QUERY = 100;
const MAX_DOCUMENTS = 1_000;

/** Fetches keys. */
export class KeyFetcher {
  readonly #deps: KeyFetcherDeps;
  readonly #direct = new Semaphore(MAX_DIRECT);

  constructor(deps: KeyFetcherDeps) {
    this.#deps = deps;
  }

  /** Whether there is anyone to ask but the servers themselves. */
  get hasNotaries(): boolean {
    return this.#deps.notaries.length > 0;
  }

  /** Asks a server for its own keys; null when it does not answer or its document is not good. */
  async fromServer(serverName: ServerName, { ignoreBackoff }: { ignoreBackoff: boolean }): Promise<KeyDocument | null> {
    try {
      const answer = await this.#direct.run(() =>
        this.#deps.client.request({
          ...{ server: serverName, method: "GET", path: "/_matrix/key/v2/server", unsigned: true, ignoreBackoff },
          ...{ timeoutMs: FETCH_TIMEOUT_MS, maxBytes: MAX_DOCUMENT_BYTES },
        })
      );
      const document = readKeyDocument(answer, serverName);
      if (document === null) this.#deps.log.info("A server published keys that are not good", { server: serverName });
      return document;
    } catch (error) {
      this.#logFailure(serverName, error);
      return null;
    }
  }

  /** Asks the notaries, one after another for what is still missing; what nobody knows is absent. */
  async fromNotaries(wanted: readonly WantedKeys[]): Promise<KeyDocument[]> {
    const documents: KeyDocument[] = [];
    let missing = [...wanted];
    for (const notary of this.#deps.notaries) {
      if (missing.length === 0) break;
      for (let start = 0; start < missing.length; start += SERVERS_PER_QUERY) {
        documents.push(...await this.#ask(notary, missing.slice(start, start + SERVERS_PER_QUERY)));
      }
      missing = missing.filter((want) => !documents.some((document) => satisfies(document, want)));
    }
    return documents;
  }

  async #ask(notary: Notary, wanted: readonly WantedKeys[]): Promise<KeyDocument[]> {
    // A notary that is asked about itself would not be a second opinion.
    const others = wanted.filter(({ serverName }) => serverName !== notary.serverName);
    if (others.length === 0 || notary.serverName === this.#deps.client.serverName) return [];
    const query: JsonObject = {};
    for (const { serverName, keyIds, minValidUntilTs } of others) {
      query[serverName] = Object.fromEntries(
        keyIds.map((keyId) => [keyId, { minimum_valid_until_ts: minValidUntilTs }]),
      );
    }
    try {
      const answer = await this.#deps.client.request({
        ...{ server: notary.serverName, method: "POST", path: "/_matrix/key/v2/query", body: { server_keys: query } },
        ...{ timeoutMs: FETCH_TIMEOUT_MS, maxBytes: MAX_DOCUMENT_BYTES * SERVERS_PER_QUERY },
      });
      return readNotaryAnswer(answer, { notary, asked: new Set(others.map(({ serverName }) => serverName)) });
    } catch (error) {
      this.#logFailure(notary.serverName, error);
      return [];
    }
  }

  #logFailure(server: ServerName, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#deps.log.info("Keys could not be fetched", { server, reason });
  }
}

/** Tells whether a document has all the keys that are looked for. */
export function satisfies(document: KeyDocument, { serverName, keyIds }: WantedKeys): boolean {
  return document.serverName === serverName && keyIds.every((keyId) => document.keys.has(keyId));
}

function readNotaryAnswer(
  answer: JsonObject,
  { notary, asked }: { notary: Notary; asked: ReadonlySet<string> },
): KeyDocument[] {
  const listed = answer["server_keys"];
  if (!Array.isArray(listed)) return [];
  const documents: KeyDocument[] = [];
  for (const json of listed.slice(0, MAX_DOCUMENTS)) {
    if (!isJsonObject(json) || !isSignedBy(notary, json)) continue;
    const name = json["server_name"];
    if (typeof name !== "string" || !asked.has(name)) continue;
    const document = readKeyDocument(json, name as ServerName);
    if (document !== null) documents.push(document);
  }
  return documents;
}

function isSignedBy({ serverName, verifyKeys }: Notary, json: JsonObject): boolean {
  if (verifyKeys === null) return true;
  return [...verifyKeys].some(([keyId, key]) => verifyJson(json, { serverName, keyId, key }));
}
