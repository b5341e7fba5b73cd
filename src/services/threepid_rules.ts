/** Which e-mail addresses and phone numbers accounts may have: `allowed_local_3pids`. */
import { MatrixError } from "../protocol/errors.ts";

/** What the rules are made of. */
export interface ThreepidRuleOptions {
  /** Null allows all. */
  readonly allowedLocal3pids: readonly { readonly medium: string; readonly pattern: RegExp }[] | null;
  readonly enable3pidChanges: boolean;
}

const MAX_EMAIL_LENGTH = 254;

/** Decides. */
export class ThreepidRules {
  readonly #options: ThreepidRuleOptions;

  constructor(options: ThreepidRuleOptions) {
    this.#options = options;
  }

  /** Whether users may change the addresses of their accounts. */
  get mayChange(): boolean {
    return this.#options.enable3pidChanges;
  }

  /** Throws 403 when no account may have the address. */
  assertAllowed(medium: string, address: string): void {
    const allowed = this.#options.allowedLocal3pids;
    if (allowed === null || allowed.some((rule) => rule.medium === medium && rule.pattern.test(address))) return;
    throw new MatrixError(403, "M_THREEPID_DENIED", "This server does not take this kind of address");
  }

  /** Throws 403 when users may not change their addresses. */
  assertMayChange(): void {
    if (this.mayChange) return;
    throw new MatrixError(403, "M_FORBIDDEN", "Changing e-mail addresses and phone numbers is disabled on this server");
  }
}

/** Tells whether a text is an e-mail address that mail can be sent to: one address, and nothing around it. */
export function isEmailAddress(text: string): boolean {
  return text.length <= MAX_EMAIL_LENGTH && /^[^\s@<>()[\]\\,;:"\p{Cc}]+@[^\s@<>()\\,;:"\p{Cc}]+$/u.test(text);
}
