/** Reads and write transactions. */
import type { Clock } from "../../lib/clock.ts";
import type { Metrics } from "../../lib/metrics.ts";
import { Spread, WORK_SECONDS } from "../../lib/tally.ts";
import type { Database, Tx } from "../../storage/database.ts";
import type { Sql } from "../../storage/sql.ts";

const TIMES = [0.0005, ...WORK_SECONDS];

interface Figures {
  readonly desc: string;
  count: number;
  ms: number;
}

/** Returns the database with its work timed. */
export function timedDatabase(db: Database, { metrics, clock }: { metrics: Metrics; clock: Clock }): Database {
  const reads = new ReadFigures();
  const writes = new WriteFigures(clock);
  addMetrics(metrics, { reads, writes });

  const read = <T>(query: Sql, start: () => Promise<T>): Promise<T> => {
    const figures = reads.of(query);
    const started = clock.monotonic();
    const result = start();
    const end = () => {
      figures.count++;
      figures.ms += clock.monotonic() - started;
    };
    result.then(end, end);
    return result;
  };

  return {
    dialect: db.dialect,
    all: <Row>(query: Sql) => read(query, () => db.all<Row>(query)),
    get: <Row>(query: Sql) => read(query, () => db.get<Row>(query)),
    transaction: <T>(work: (tx: Tx) => Promise<T>) => writes.run(db, work),
    [Symbol.asyncDispose]: () => db[Symbol.asyncDispose](),
  };
}

/** Write transactions. */
class WriteFigures implements Figures {
  readonly desc = "write";
  count = 0;
  ms = 0;
  failed = 0;
  waiting = 0;
  open = 0;
  readonly waits = new Spread(TIMES);
  readonly times = new Spread(TIMES);
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async run<T>(db: Database, work: (tx: Tx) => Promise<T>): Promise<T> {
    const asked = this.#clock.monotonic();
    let hasBegun = false;
    this.waiting++;
    try {
      return await db.transaction((tx) => {
        // PostgreSQL may have it done again.
        if (!hasBegun) this.#begin(asked);
        hasBegun = true;
        return work(tx);
      });
    } catch (error) {
      this.failed++;
      throw error;
    } finally {
      if (hasBegun) this.open--;
      else this.waiting--;
      const ms = this.#clock.monotonic() - asked;
      this.count++;
      this.ms += ms;
      this.times.observe(ms / 1_000);
    }
  }

  #begin(asked: number): void {
    this.waiting--;
    this.open++;
    this.waits.observe((this.#clock.monotonic() - asked) / 1_000);
  }
}

/** Reads by the table that they begin with. */
class ReadFigures {
  readonly #byText = new WeakMap<readonly string[], Figures>();
  readonly #byDesc = new Map<string, Figures>();

  /** A query's text is one object for each place in the code, so that it is looked at once. */
  of({ strings }: Sql): Figures {
    const known = this.#byText.get(strings);
    if (known !== undefined) return known;
    const table = /\bFROM\s+([a-z_]+)/.exec(strings.join(" "))?.[1];
    const desc = table === undefined ? "read" : `read_${table}`;
    let figures = this.#byDesc.get(desc);
    if (figures === undefined) this.#byDesc.set(desc, figures = { desc, count: 0, ms: 0 });
    this.#byText.set(strings, figures);
    return figures;
  }

  all(): readonly Figures[] {
    return [...this.#byDesc.values()];
  }
}

function addMetrics(
  metrics: Metrics,
  { reads, writes }: { reads: ReadFigures; writes: WriteFigures },
): void {
  const all = () => [...reads.all(), writes];
  const labels = ["desc"];
  metrics.counted(
    {
      name: "synapse_storage_transaction_time_count_total",
      help: "Reads, by their table, and write transactions",
      labels,
    },
    () => all().map(({ desc, count }) => [{ desc }, count]),
  );
  metrics.counted(
    { name: "synapse_storage_transaction_time_sum_total", help: "Seconds that they took, waiting included", labels },
    () => all().map(({ desc, ms }) => [{ desc }, ms / 1_000]),
  );
  metrics.spread(
    { name: "synapse_storage_schedule_time", help: "Seconds that write transactions waited for their turn" },
    () => writes.waits,
  );
  metrics.spread(
    {
      name: "synapse_ts_storage_write_time_seconds",
      help: "Time of write transactions, from the call to the durable commit",
    },
    () => writes.times,
  );
  metrics.counted(
    { name: "synapse_ts_storage_failed_transactions_total", help: "Write transactions that failed" },
    () => writes.failed,
  );
  metrics.gauge(
    { name: "synapse_ts_storage_waiting_transactions", help: "Write transactions that wait for their turn" },
    () => writes.waiting,
  );
  metrics.gauge(
    {
      name: "synapse_ts_storage_open_transactions",
      help: "Write transactions that have begun and are not durable yet",
    },
    () => writes.open,
  );
}
