/** A line that shows how far something is and how long it will still take; without a terminal, a line now and then. */
import type { Clock } from "../lib/clock.ts";
import type { Terminal } from "../lib/terminal.ts";

const WIDTH = 24;
const DRAW_EVERY_MS = 200;
const SAY_EVERY_MS = 30_000;

/** Shows progress on standard error. */
export class ProgressBar {
  readonly #terminal: Terminal;
  readonly #clock: Clock;
  readonly #isDrawn: boolean;
  #label = "";
  #total = 0;
  #done = 0;
  /** What was there already does not count for the speed. */
  #started = { at: 0, done: 0 };
  #shownAt = 0;

  constructor({ terminal, clock, isDrawn }: { terminal: Terminal; clock: Clock; isDrawn: boolean }) {
    this.#terminal = terminal;
    this.#clock = clock;
    this.#isDrawn = isDrawn;
  }

  /** Starts anew with so much to do. */
  begin(label: string, total: number): void {
    this.end();
    this.#label = label;
    this.#total = total;
    this.#done = 0;
    this.#started = { at: this.#clock.monotonic(), done: 0 };
    this.#shownAt = 0;
  }

  /** Notes that some of it is done; `isOld` when it was before this run. */
  add(count: number, { detail = "", isOld = false }: { detail?: string; isOld?: boolean } = {}): void {
    this.#done += count;
    if (isOld) this.#started.done += count;
    const now = this.#clock.monotonic();
    if (now - this.#shownAt < (this.#isDrawn ? DRAW_EVERY_MS : SAY_EVERY_MS) && this.#shownAt !== 0) return;
    this.#shownAt = now;
    this.#show(this.#isDrawn ? `\r${this.#text(detail)}\x1b[K` : `${this.#text(detail)}\n`);
  }

  /** Ends the line. */
  end(): void {
    if (this.#shownAt !== 0) this.#show(this.#isDrawn ? `\r${this.#text("")}\x1b[K\n` : `${this.#text("")}\n`);
    this.#shownAt = 0;
  }

  #show(text: string): void {
    this.#terminal.err(text);
  }

  #text(detail: string): string {
    const part = this.#total === 0 ? 1 : Math.min(1, this.#done / this.#total);
    const filled = Math.round(part * WIDTH);
    const bar = `${"#".repeat(filled)}${"-".repeat(WIDTH - filled)}`;
    const count = `${this.#done.toLocaleString("en")}/${this.#total.toLocaleString("en")} rows`;
    const percent = `${Math.floor(part * 100)} %`.padStart(5);
    return `${this.#label} [${bar}] ${percent}  ${count}${this.#timeLeft()}${detail === "" ? "" : `  ${detail}`}`;
  }

  #timeLeft(): string {
    const elapsed = this.#clock.monotonic() - this.#started.at;
    const done = this.#done - this.#started.done;
    const left = this.#total - this.#done;
    if (done <= 0 || elapsed < 1000 || left <= 0) return "";
    return `, ${durationText((elapsed / done) * left)} left`;
  }
}

/** Returns a length of time for people. */
export function durationText(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
