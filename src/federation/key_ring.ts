/**
 * Keys of other servers, and what they verify. Spec: server-server API, "Retrieving server keys", and "Signing key
 * validity period" of each room version.
 *
 * A key is looked for in memory, in the database, at the notaries and at its server, in this order. One fetch per server
 * runs at a time and serves all who wait. What cannot be found is not looked for again for a while, and no server is
 * asked more than a few times a minute whatever key ids are made up in its name.
 *
 * Keys that their server no longer uses stay good for what was signed before: always until room version 4, from version 5
 * on if the event is no younger than the key's validity.
 */
import type { Clock } from "../lib/clock.ts";
import { LruCache } from "../lib/lru.ts";
import type { ServerName } from "../protocol/ids.ts";
import { parseVerifyKey, type VerifyKey } from "../protocol/signatures.ts";
import type { Database } from "../storage/database.ts";
import { selectServerKey, type StoredServerKey, upsertKeyDocuments, upsertServerKeys } from "../storage/server_keys.ts";
import type { KeyDocument } from "./key_document.ts";
import type { FetchedDocument, KeyFetcher } from "./key_fetcher.ts";
import type { LocalKeys } from "./local_keys.ts";

/** What a key is needed for. */
export interface KeyNeed {
  readonly serverName: ServerName;
  readonly keyId: string;
  /** `request` needs a key in use now, `event` one that was valid at `validAt`. */
  readonly use: "request" | "event";
  /** When the event says it was made; null where the room version does not ask (1 to 4), and for requests. */
  readonly validAt: number | null;
}

/** What the key ring is built from. */
export interface KeyRingDeps {
  readonly serverName: ServerName;
  readonly db: Database;
  readonly clock: Clock;
  readonly local: LocalKeys;
  readonly fetcher: KeyFetcher;
}

interface KnownKey {
  readonly key: VerifyKey;
  readonly validUntilTs: number;
  readonly isRetired: boolean;
}

interface ServerFetches {
  /** When the last few began, by the clock that never goes back, as below. */
  readonly begun: number[];
  /** Not to be asked before this, because it could not be reached. */
  blockedUntil: number;
  failures: number;
}

/** However long a document claims to be valid, its keys count for no longer than this from when it was fetched. */
const MAX_VALIDITY_MS = 7 * 86_400_000;
const MAX_CACHED_KEYS = 20_000;
const MAX_CACHED_SERVERS = 20_000;
const FETCHES_PER_MINUTE = 5;
const MINUTE_MS = 60_000;
const ABSENT_MS = 30_000;
const FIRST_BLOCK_MS = 15_000;
const MAX_BLOCK_MS = 600_000;
/** Notaries get this long before the server itself is asked as well. */
const NOTARY_HEAD_START_MS = 2_000;

/** Finds keys. */
export class KeyRing {
  readonly #deps: KeyRingDeps;
  readonly #keys = new LruCache<string, KnownKey>({ name: "server_keys", maxEntries: MAX_CACHED_KEYS });
  readonly #absent = new LruCache<string, number>({ maxEntries: MAX_CACHED_KEYS });
  readonly #fetches = new LruCache<ServerName, ServerFetches>({ maxEntries: MAX_CACHED_SERVERS });
  readonly #pending = new Map<ServerName, Promise<void>>();

  constructor(deps: KeyRingDeps) {
    this.#deps = deps;
  }

  /** Returns the key, or null when it cannot be found or is not valid for its use. */
  async find(need: KeyNeed): Promise<VerifyKey | null> {
    if (need.serverName === this.#deps.serverName) return this.#ownKey(need);
    const known = await this.#known(need);
    if (known !== null && isUsable(known, this.#latestUse(need), need)) return known.key;
    if (!this.#mayFetch(need)) return null;
    await this.#fetch(need);
    const fetched = await this.#known(need);
    if (fetched !== null && isUsable(fetched, this.#latestUse(need), need)) return fetched.key;
    this.#absent.set(idOf(need), this.#deps.clock.monotonic() + ABSENT_MS);
    return null;
  }

  /** Looks for many keys at once, so that `find` has them at hand: one query to each notary, then all servers side by side. */
  async prefetch(needs: readonly KeyNeed[]): Promise<void> {
    const missing = new Map<string, KeyNeed>();
    for (const need of needs) {
      if (need.serverName === this.#deps.serverName) continue;
      const known = await this.#known(need);
      if (known === null || !isUsable(known, this.#latestUse(need), need)) missing.set(idOf(need), need);
    }
    const wanted = [...missing.values()].filter((need) => this.#mayFetch(need));
    if (this.#deps.fetcher.hasNotaries && wanted.length > 0) await this.#askNotaries(wanted);
    await Promise.all(wanted.map((need) => this.#findAtServer(need)));
  }

  async #findAtServer(need: KeyNeed): Promise<void> {
    const known = await this.#known(need);
    if (known === null || !isUsable(known, this.#latestUse(need), need)) {
      await this.#fetch(need, { skipNotaries: true });
    }
  }

  /** Stores what a document says; documents that others pass on never replace newer ones. */
  async learn({ document, isDirect }: FetchedDocument): Promise<void> {
    const now = this.#deps.clock.now();
    const learned: StoredServerKey[] = [];
    for (const [keyId, { key, retiredTs }] of document.keys) {
      const next = {
        key,
        isRetired: retiredTs !== null,
        validUntilTs: retiredTs ?? Math.min(document.validUntilTs, now + MAX_VALIDITY_MS),
      };
      const id = { serverName: document.serverName, keyId };
      const before = await this.#known(id);
      if (!isDirect && before !== null && !supersedes(next, before)) continue;
      this.#keys.set(idOf(id), next);
      this.#absent.delete(idOf(id));
      const { validUntilTs, isRetired } = next;
      learned.push({ ...id, validUntilTs, isRetired, verifyKey: key.base64, fetchedTs: now });
    }
    if (learned.length > 0) await this.#store(document, learned);
  }

  async #store(document: KeyDocument, keys: readonly StoredServerKey[]): Promise<void> {
    const { serverName, validUntilTs, json } = document;
    const keyIds = keys.map(({ keyId }) => keyId);
    const fetchedTs = this.#deps.clock.now();
    await this.#deps.db.transaction(async (tx) => {
      await upsertServerKeys(tx, keys);
      await upsertKeyDocuments(tx, { serverName, validUntilTs, fetchedTs, keyIds, json: JSON.stringify(json) });
    });
  }

  #ownKey({ keyId, use, validAt }: KeyNeed): VerifyKey | null {
    const own = this.#deps.local.get(keyId);
    if (own === null || own.retiredTs === null) return own?.key ?? null;
    return use === "event" && (validAt === null || validAt <= own.retiredTs) ? own.key : null;
  }

  async #known({ serverName, keyId }: Pick<KeyNeed, "serverName" | "keyId">): Promise<KnownKey | null> {
    const cached = this.#keys.get(idOf({ serverName, keyId }));
    if (cached !== undefined) return cached;
    const stored = await selectServerKey(this.#deps.db, { serverName, keyId });
    const key = stored === null ? null : parseVerifyKey(stored.verifyKey);
    if (stored === null || key === null) return null;
    const known = { key, validUntilTs: stored.validUntilTs, isRetired: stored.isRetired };
    this.#keys.set(idOf({ serverName, keyId }), known);
    return known;
  }

  /** Returns until when the key must be valid; null where any time will do. */
  #latestUse({ use, validAt }: KeyNeed): number | null {
    return use === "request" ? this.#deps.clock.now() : validAt;
  }

  #mayFetch(need: KeyNeed): boolean {
    const { clock } = this.#deps;
    // No document can vouch for a time that far ahead.
    if ((need.validAt ?? 0) > clock.now() + MAX_VALIDITY_MS) return false;
    // What is counted and waited for must not stand still when the machine's clock is put back.
    const now = clock.monotonic();
    if ((this.#absent.get(idOf(need)) ?? 0) > now) return false;
    // A fetch that is under way already costs nothing more.
    if (this.#pending.has(need.serverName)) return true;
    const fetches = this.#fetches.get(need.serverName);
    if (fetches === undefined) return true;
    if (fetches.blockedUntil > now && need.use === "event") return false;
    while (fetches.begun.length > 0 && (fetches.begun[0] ?? 0) <= now - MINUTE_MS) fetches.begun.shift();
    return fetches.begun.length < FETCHES_PER_MINUTE;
  }

  async #fetch(need: KeyNeed, { skipNotaries = false }: { skipNotaries?: boolean } = {}): Promise<void> {
    const pending = this.#pending.get(need.serverName);
    if (pending !== undefined) return await pending;
    const work = this.#ask(need, { skipNotaries }).finally(() => this.#pending.delete(need.serverName));
    this.#pending.set(need.serverName, work);
    await work;
  }

  async #ask(need: KeyNeed, { skipNotaries }: { skipNotaries: boolean }): Promise<void> {
    const { fetcher, clock } = this.#deps;
    const fetches = this.#fetches.get(need.serverName) ?? { begun: [], blockedUntil: 0, failures: 0 };
    fetches.begun.push(clock.monotonic());
    this.#fetches.set(need.serverName, fetches);
    if (fetcher.hasNotaries && !skipNotaries) {
      await Promise.race([this.#askNotaries([need]), headStart()]);
      const known = await this.#known(need);
      if (known !== null && isUsable(known, this.#latestUse(need), need)) return;
    }
    // A server that speaks to us is up, whatever we noted about it before.
    const document = await fetcher.fromServer(need.serverName, { ignoreBackoff: need.use === "request" });
    if (document !== null) {
      fetches.failures = 0;
      return await this.learn({ document, isDirect: true });
    }
    const blockMs = Math.min(MAX_BLOCK_MS, FIRST_BLOCK_MS * 2 ** Math.min(fetches.failures++, 10));
    fetches.blockedUntil = clock.monotonic() + blockMs;
  }

  async #askNotaries(needs: readonly KeyNeed[]): Promise<void> {
    const byServer = Map.groupBy(needs, ({ serverName }) => serverName);
    const wanted = [...byServer].map(([serverName, ofServer]) => ({
      serverName,
      keyIds: ofServer.map(({ keyId }) => keyId),
      minValidUntilTs: Math.max(...ofServer.map((need) => this.#latestUse(need) ?? 0)),
    }));
    for (const document of await this.#deps.fetcher.fromNotaries(wanted)) {
      await this.learn({ document, isDirect: false });
    }
  }
}

/** Resolves once notaries have had their time; the timer keeps nothing alive. */
function headStart(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  AbortSignal.timeout(NOTARY_HEAD_START_MS).addEventListener("abort", () => resolve(), { once: true });
  return promise;
}

function idOf({ serverName, keyId }: Pick<KeyNeed, "serverName" | "keyId">): string {
  return `${serverName}\n${keyId}`;
}

function isUsable({ validUntilTs, isRetired }: KnownKey, validAt: number | null, { use }: KeyNeed): boolean {
  if (use === "request" && isRetired) return false;
  return validAt === null || validUntilTs >= validAt;
}

/** A key that was retired stays so, unless its server itself says otherwise. */
function supersedes(next: KnownKey, before: KnownKey): boolean {
  if (before.isRetired) return false;
  return next.isRetired || next.validUntilTs > before.validUntilTs;
}
