/** Our own keys, and the document that publishes them. Spec: server-server API, "Publishing Keys". */
import type { Clock } from "../lib/clock.ts";
import { StartupError } from "../lib/startup_error.ts";
import { canonicalJson } from "../protocol/canonical_json.ts";
import type { JsonObject } from "../protocol/json.ts";
import { parseVerifyKey, type Signer, signJson, type VerifyKey } from "../protocol/signatures.ts";

/** A key that this server used in the past: an entry of `old_signing_keys`. */
export interface OldSigningKey {
  /** The public key in base64. */
  readonly key: string;
  readonly expiredTs: number;
}

/** What the keys are built from. */
export interface LocalKeysDeps {
  readonly signer: Signer;
  readonly clock: Clock;
  /** By key id. */
  readonly oldKeys: Readonly<Record<string, OldSigningKey>>;
  /** `key_refresh_interval` in milliseconds. */
  readonly refreshIntervalMs: number;
}

/** A key of ours, with the time it was retired (null while in use). */
export interface LocalKey {
  readonly key: VerifyKey;
  readonly retiredTs: number | null;
}

/** Publishes and finds our keys. Throws `StartupError` for an old key that is none. */
export class LocalKeys {
  readonly #deps: LocalKeysDeps;
  readonly #keys: ReadonlyMap<string, LocalKey>;
  #published: { readonly json: JsonObject; readonly madeAt: number } | null = null;

  constructor(deps: LocalKeysDeps) {
    this.#deps = deps;
    this.#keys = new Map([
      ...Object.entries(deps.oldKeys).map(([keyId, { key, expiredTs }]): [string, LocalKey] => {
        const parsed = parseVerifyKey(key);
        if (parsed === null) throw new StartupError(`The key ${keyId} of "old_signing_keys" is not a public key`);
        return [keyId, { key: parsed, retiredTs: expiredTs }];
      }),
      [deps.signer.key.keyId, { key: deps.signer.key.verifyKey, retiredTs: null }],
    ]);
  }

  /** Returns a key of ours by its id, or null. */
  get(keyId: string): LocalKey | null {
    return this.#keys.get(keyId) ?? null;
  }

  /** Returns the signed document. It is made anew when half of its time has passed, or the clock was put back. */
  document(): JsonObject {
    const { clock, refreshIntervalMs } = this.#deps;
    const now = clock.now();
    const age = now - (this.#published?.madeAt ?? 0);
    if (this.#published !== null && age >= 0 && age < refreshIntervalMs / 2) return this.#published.json;
    const json = this.#sign(now);
    this.#published = { json, madeAt: now };
    return json;
  }

  /** Returns the document in canonical form: there are those who verify what is left when they cut the signatures out. */
  documentText(): string {
    return canonicalJson(this.document());
  }

  #sign(now: number): JsonObject {
    const { signer, refreshIntervalMs } = this.#deps;
    const inUse: JsonObject = {};
    const old: JsonObject = {};
    for (const [keyId, { key, retiredTs }] of this.#keys) {
      if (retiredTs === null) inUse[keyId] = { key: key.base64 };
      else old[keyId] = { key: key.base64, expired_ts: retiredTs };
    }
    return signJson({
      server_name: signer.serverName,
      verify_keys: inUse,
      old_verify_keys: old,
      valid_until_ts: now + refreshIntervalMs,
    }, signer);
  }
}
