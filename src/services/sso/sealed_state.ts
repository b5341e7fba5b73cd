/**
 * What a browser keeps in a cookie while its user is at a provider, signed so that only this server can have written it.
 * The server itself keeps nothing, so that nobody can fill it with logins that go nowhere.
 */
import type { Clock } from "../../lib/clock.ts";
import { equalSecrets } from "../../lib/digest.ts";
import type { JsonValue } from "../../protocol/json.ts";
import { type SigningKey, signText } from "../../protocol/signatures.ts";
import { SsoError } from "./identity_provider.ts";

/** What states are sealed with. */
export interface SealedStatesDeps {
  /** The server's key; what it signs here is no JSON that another server would take for an event. */
  readonly key: SigningKey;
  readonly clock: Clock;
}

/** How long somebody may take at a provider. */
export const STATE_LIFETIME_MS = 3_600_000;
/** Browsers keep no cookies that are longer. */
const MAX_SEALED_LENGTH = 4_000;

/** Seals states and opens them. */
export class SealedStates {
  readonly #deps: SealedStatesDeps;

  constructor(deps: SealedStatesDeps) {
    this.#deps = deps;
  }

  /** Seals a state of some kind. Throws for one that no cookie can hold. */
  seal(kind: string, value: JsonValue): string {
    const text = JSON.stringify({ value, expiresTs: this.#deps.clock.now() + STATE_LIFETIME_MS });
    const payload = Buffer.from(text).toString("base64url");
    const sealed = `${payload}.${this.#signatureOf(kind, payload)}`;
    if (sealed.length > MAX_SEALED_LENGTH) throw new SsoError("invalid_request", "The redirect URL is too long.");
    return sealed;
  }

  /** Opens a sealed state; null for one that was changed, is of another kind or ran out. */
  open(kind: string, sealed: string): JsonValue {
    const [payload = "", signature = ""] = sealed.slice(0, MAX_SEALED_LENGTH).split(".", 2);
    if (!equalSecrets(signature, this.#signatureOf(kind, payload))) return null;
    const { value, expiresTs } = JSON.parse(Buffer.from(payload, "base64url").toString());
    return expiresTs > this.#deps.clock.now() ? value : null;
  }

  #signatureOf(kind: string, payload: string): string {
    const signature = signText(JSON.stringify(["sso", kind, payload]), this.#deps.key);
    return signature.replaceAll("+", "-").replaceAll("/", "_");
  }
}
