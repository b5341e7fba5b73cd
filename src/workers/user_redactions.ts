/** Redacts what users have said whose kick or ban asks for it (MSC4293); a restart goes on where it stopped. */
import { ChoreRunner } from "../lib/chore_runner.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { inTurns } from "../lib/turn.ts";
import type { PersistHandler } from "../rooms/pending.ts";
import { DELTAS_A_TURN } from "../rooms/state_deltas.ts";
import { redactedUser } from "../rooms/user_redactions.ts";
import type { Database } from "../storage/database.ts";
import { insertUserRedaction, selectUserRedactions, type UserRedaction } from "../storage/user_redactions.ts";

/** What the worker is built from. */
export interface UserRedactionsDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  /** Redacts one more span; returns what is left to do, or null. */
  readonly redactSpan: (redaction: UserRedaction) => Promise<UserRedaction | null>;
}

const RETRY_DELAY_MS = 10_000;

/** Redacts span by span. */
export class UserRedactions implements AsyncDisposable {
  readonly #runner: ChoreRunner;

  constructor({ db, clock, log, redactSpan }: UserRedactionsDeps) {
    this.#runner = new ChoreRunner({
      clock,
      work: async (signal) => {
        let todo = await selectUserRedactions(db);
        while (todo.length > 0) {
          for (const redaction of todo) {
            let left: UserRedaction | null = redaction;
            while (left !== null && !signal.aborted) left = await redactSpan(left);
          }
          if (signal.aborted) return;
          todo = await selectUserRedactions(db);
        }
      },
      onFailure: (error) => log.error("The events of a banned user could not be redacted, trying again", { error }),
      retryDelayMs: RETRY_DELAY_MS,
    });
  }

  /** Notes kicks and bans that redact: runs in the transaction that writes events. */
  readonly onPersist: PersistHandler = async (tx, { room: { roomNid }, events }) => {
    for (const { stored: { position }, deltas } of events) {
      for await (const part of inTurns(deltas.ofType("m.room.member"), DELTAS_A_TURN)) {
        for (const { after } of part) {
          if (after === null || position === null || redactedUser(after.event) === null) continue;
          await insertUserRedaction(tx, { redactionNid: after.nid, roomNid, upTo: position });
          tx.afterCommit(() => this.wake());
        }
      }
    }
  };

  /** Goes on with what is noted. */
  wake(): void {
    this.#runner.wake();
  }

  /** Stops after the span under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#runner[Symbol.asyncDispose]();
  }
}
