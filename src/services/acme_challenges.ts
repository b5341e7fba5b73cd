/** What an ACME server is told while it checks that a name leads here (RFC 8555 section 8.3). */

/** A certificate chain and its key, in PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** The challenges of the order that is under way. */
export class AcmeChallenges {
  readonly #answers = new Map<string, string>();

  /** Returns what to answer at `/.well-known/acme-challenge/TOKEN`, or null. */
  answerOf(token: string): string | null {
    return this.#answers.get(token) ?? null;
  }

  /** Begins to answer for a token. */
  add(token: string, answer: string): void {
    this.#answers.set(token, answer);
  }

  /** Ends it. */
  remove(token: string): void {
    this.#answers.delete(token);
  }
}
