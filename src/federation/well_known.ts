/**
 * Delegation by `/.well-known/matrix/server`, with its rules of caching. Spec: server-server API, "Resolving server
 * names", step 3.
 *
 * Good answers are kept as their headers say, within bounds. An answer without a delegation is kept for an hour; a server
 * that cannot be asked is asked again after two minutes, then after twice as long each time, up to an hour. While it
 * cannot be asked, a delegation that has only just run out still counts.
 */
import type { Clock } from "../lib/clock.ts";
import { LruCache } from "../lib/lru.ts";
import { parseJsonStrict } from "../protocol/canonical_json.ts";
import { parseServerName, type ServerName } from "../protocol/ids.ts";
import { isJsonObject } from "../protocol/json.ts";

/** The largest document that is read. */
export const MAX_WELL_KNOWN_BYTES = 51_200;
/** How often a redirect is followed. */
export const MAX_REDIRECTS = 5;

const DEFAULT_TTL_MS = 24 * 3_600_000;
const MIN_TTL_MS = 5 * 60_000;
const MAX_TTL_MS = 48 * 3_600_000;
const ABSENT_TTL_MS = 3_600_000;
const FIRST_RETRY_MS = 2 * 60_000;
const GRACE_FACTOR = 0.2;
const MAX_CACHED = 10_000;

/** One answer over HTTPS. `location` is set on redirects. */
export interface WebAnswer {
  readonly status: number;
  readonly body: Uint8Array;
  readonly cacheControl: string | null;
  readonly expires: string | null;
  readonly location: string | null;
}

/** Gets a document with normal certificate checks, without following redirects; rejects when there is no answer. */
export type WebGet = (url: URL) => Promise<WebAnswer>;

interface Entry {
  readonly delegated: ServerName | null;
  readonly expiresAt: number;
  /** Until when the delegation may be used if the server cannot be asked. */
  readonly graceUntil: number;
  readonly failures: number;
}

/** Finds and remembers delegations. */
export class WellKnown {
  readonly #get: WebGet;
  readonly #clock: Clock;
  readonly #entries = new LruCache<string, Entry>({ name: "well_known", maxEntries: MAX_CACHED });
  readonly #pending = new Map<string, Promise<ServerName | null>>();

  constructor({ get, clock }: { get: WebGet; clock: Clock }) {
    this.#get = get;
    this.#clock = clock;
  }

  /** Returns the name that `host` delegates to, or null when it does not. Never rejects. */
  async delegationOf(host: string): Promise<ServerName | null> {
    const known = this.#entries.get(host);
    if (known !== undefined && this.#clock.now() < known.expiresAt) return known.delegated;
    const pending = this.#pending.get(host) ?? this.#start(host, known);
    return await pending;
  }

  #start(host: string, known: Entry | undefined): Promise<ServerName | null> {
    const work = this.#refresh(host, known).finally(() => this.#pending.delete(host));
    this.#pending.set(host, work);
    return work;
  }

  async #refresh(host: string, known: Entry | undefined): Promise<ServerName | null> {
    const answer = await this.#follow(new URL(`https://${host}/.well-known/matrix/server`));
    const now = this.#clock.now();
    const entry = answer === null ? afterFailure(known, now) : entryOf(answer, now);
    this.#entries.set(host, entry);
    return entry.delegated;
  }

  /** Returns the last answer after redirects, or null when nobody could be asked. */
  async #follow(start: URL): Promise<WebAnswer | null> {
    let url = start;
    const seen = new Set<string>();
    for (let step = 0; step <= MAX_REDIRECTS; step++) {
      seen.add(url.href);
      const answer = await this.#get(url).catch(() => null);
      if (answer === null || answer.status >= 500 || answer.status === 429) return null;
      const isRedirect = answer.status >= 300 && answer.status < 400 && answer.location !== null;
      if (!isRedirect) return answer;
      const next = URL.parse(answer.location ?? "", url);
      if (next === null || next.protocol !== "https:" || seen.has(next.href)) return { ...answer, location: null };
      url = next;
    }
    return { status: 310, body: new Uint8Array(), cacheControl: null, expires: null, location: null };
  }
}

function entryOf(answer: WebAnswer, now: number): Entry {
  const delegated = answer.status === 200 ? parseDelegation(answer.body) : null;
  if (delegated === null) return { delegated, expiresAt: now + ABSENT_TTL_MS, graceUntil: now, failures: 0 };
  const ttl = lifetimeOf(answer, now);
  return { delegated, expiresAt: now + ttl, graceUntil: now + ttl * (1 + GRACE_FACTOR), failures: 0 };
}

function afterFailure(known: Entry | undefined, now: number): Entry {
  const failures = (known?.failures ?? 0) + 1;
  const retryAt = now + Math.min(ABSENT_TTL_MS, FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 10));
  const isUsable = known !== undefined && known.delegated !== null && now < known.graceUntil;
  if (!isUsable) return { delegated: null, expiresAt: retryAt, graceUntil: now, failures };
  return { ...known, expiresAt: Math.min(retryAt, known.graceUntil), failures };
}

function parseDelegation(body: Uint8Array): ServerName | null {
  try {
    const document = parseJsonStrict(body);
    const name = isJsonObject(document) ? document["m.server"] : undefined;
    return typeof name === "string" ? parseServerName(name) : null;
  } catch {
    return null;
  }
}

/** Returns how long an answer may be kept, by `Cache-Control`, else `Expires`. */
export function lifetimeOf(answer: Pick<WebAnswer, "cacheControl" | "expires">, now: number): number {
  return Math.min(MAX_TTL_MS, Math.max(MIN_TTL_MS, statedLifetime(answer, now) ?? DEFAULT_TTL_MS));
}

function statedLifetime({ cacheControl, expires }: Pick<WebAnswer, "cacheControl" | "expires">, now: number) {
  for (const directive of (cacheControl ?? "").toLowerCase().split(",").map((part) => part.trim())) {
    if (directive === "no-store" || directive === "no-cache") return 0;
    const maxAge = /^max-age="?(\d{1,12})"?$/.exec(directive);
    if (maxAge !== null) return Number(maxAge[1]) * 1000;
  }
  if (expires === null) return null;
  const at = Date.parse(expires);
  return Number.isNaN(at) ? 0 : at - now;
}
