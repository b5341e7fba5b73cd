/**
 * How fast search is: `make bench-search`, or `deno run -A bench/search_bench.ts [--messages 200000] [--queries 200]`.
 *
 * Fills the index of an SQLite file and of a PostgreSQL of its own with messages of made-up words, common and rare as
 * words of a language are, in 60 rooms, and asks for two words as the service does: count, and the closest or newest
 * matches.
 */
import { parseArgs } from "node:util";
import { wordsOf } from "../src/lib/words.ts";
import type { UserId } from "../src/protocol/ids.ts";
import {
  countMatches,
  insertSearchDocuments,
  planSearch,
  selectClosestMatches,
  selectNewestMatches,
} from "../src/storage/search.ts";
import type { Database } from "../src/storage/database.ts";
import { sql } from "../src/storage/sql.ts";
import { createTestDatabase, DIALECTS } from "../tests/harness/databases.ts";
import { openDatabase } from "../src/storage/open_database.ts";
import { MAX_POSITION } from "../src/storage/timeline.ts";

const { values } = parseArgs({
  options: { messages: { type: "string", default: "200000" }, queries: { type: "string", default: "200" } },
});
const MESSAGES = Number(values.messages);
const QUERIES = Number(values.queries);
const ROOMS = 60;
const VOCABULARY = 20_000;
const STEP = 1_000;
const ROWS = 50;

/** A small generator with a seed, so that runs are alike. */
function makeRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return state / 4_294_967_296;
  };
}

const random = makeRandom(1);

/** The rank of a word is spread as in a language: the first few make up most of a text. */
function word(): string {
  return `w${Math.floor(VOCABULARY ** random())}`;
}

function message(): string {
  return Array.from({ length: 4 + Math.floor(random() * 16) }, word).join(" ");
}

function median(times: readonly number[]): number {
  return [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0;
}

/** Adds messages and what the index knows of them, as the indexer does. */
async function fill(db: Database): Promise<void> {
  for (let first = 1; first <= MESSAGES; first += STEP) {
    await db.transaction(async (tx) => {
      const documents = Array.from({ length: Math.min(STEP, MESSAGES - first + 1) }, (_, index) => ({
        position: first + index,
        eventNid: first + index,
        roomNid: 1 + Math.floor(random() * ROOMS),
        sender: "@a:b" as UserId,
        field: "content.body",
        words: wordsOf(message(), { max: 2_000 }),
      }));
      for (let from = 0; from < documents.length; from += ROWS) {
        const rows = documents.slice(from, from + ROWS).map(({ position, eventNid, roomNid, sender }) =>
          sql`(${eventNid}, ${`$${eventNid}`}, ${roomNid}, 'm.room.message', ${sender}, ${position}, ${position},
            0, 0, FALSE, FALSE, FALSE, 0)`
        );
        await tx.run(sql`
          INSERT INTO events (event_nid, event_id, room_nid, type, sender, depth, position, origin_server_ts,
            received_ts, is_outlier, is_rejected, is_soft_failed, auth_rank)
          VALUES ${rows.reduce((all, row) => sql`${all}, ${row}`)}`);
      }
      await insertSearchDocuments(tx, documents);
    });
  }
}

async function ask(db: Database, order: "rank" | "recent"): Promise<void> {
  const times: number[] = [];
  let found = 0;
  for (let index = 0; index < QUERIES; index++) {
    const given = {
      words: [...new Set([word(), word()])],
      roomNids: Array.from({ length: ROOMS }, (_, room) => room + 1),
      fields: null,
      senders: null,
    };
    const start = performance.now();
    const query = await planSearch(db, given);
    await countMatches(db, query);
    const matches = order === "rank"
      ? await selectClosestMatches(db, { ...query, limit: 50 })
      : await selectNewestMatches(db, { ...query, before: MAX_POSITION, limit: 50 });
    times.push(performance.now() - start);
    found += Number(matches.length > 0);
  }
  const slowest = Math.max(...times).toFixed(1);
  console.log(
    `  ${order}: median ${median(times).toFixed(2)} ms, slowest ${slowest} ms, ${found}/${QUERIES} found some`,
  );
  if (found === 0) throw new Error("Nothing was found: the index is empty");
}

for (const dialect of DIALECTS) {
  await using database = await createTestDatabase(dialect);
  await using db = await openDatabase(database.options);
  const started = performance.now();
  await fill(db);
  const seconds = (performance.now() - started) / 1000;
  console.log(`${dialect}: indexed ${MESSAGES} messages in ${seconds.toFixed(1)} s`);
  for (const order of ["rank", "recent"] as const) await ask(db, order);
}
Deno.exit(0);
