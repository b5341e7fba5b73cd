/**
 * How fast search is: `deno run -A bench/search_bench.ts [--messages 200000] [--queries 200]`.
 *
 * Fills the index of an SQLite file in a temporary folder with messages of made-up words, common and rare as words of a
 * language are, in 60 rooms, and asks for two words as the service does: count, and the closest or newest matches.
 */
import { parseArgs } from "node:util";
import { wordsOf } from "../src/lib/words.ts";
import type { UserId } from "../src/protocol/ids.ts";
import {
  countMatches,
  insertSearchDocuments,
  selectClosestMatches,
  selectNewestMatches,
} from "../src/storage/search.ts";
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

const folder = await Deno.makeTempDir({ prefix: "synapse-ts-bench-" });
try {
  await using db = await openDatabase({ sqlite: { path: `${folder}/homeserver.db` } });
  const started = performance.now();
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
      await insertSearchDocuments(tx, documents);
    });
  }
  const seconds = (performance.now() - started) / 1000;
  console.log(`indexed ${MESSAGES} messages in ${seconds.toFixed(1)} s (${Math.round(MESSAGES / seconds)}/s)`);
  for (const order of ["rank", "recent"] as const) {
    const times: number[] = [];
    let found = 0;
    for (let index = 0; index < QUERIES; index++) {
      const query = {
        words: [...new Set([word(), word()])],
        roomNids: Array.from({ length: ROOMS }, (_, room) => room + 1),
        fields: null,
        senders: null,
      };
      const start = performance.now();
      await countMatches(db, query);
      const matches = order === "rank"
        ? await selectClosestMatches(db, { ...query, limit: 50 })
        : await selectNewestMatches(db, { ...query, before: MAX_POSITION, limit: 50 });
      times.push(performance.now() - start);
      found += Number(matches.length > 0);
    }
    const slowest = Math.max(...times).toFixed(1);
    console.log(
      `${order}: median ${median(times).toFixed(2)} ms, slowest ${slowest} ms, ${found}/${QUERIES} found some`,
    );
  }
} finally {
  await Deno.remove(folder, { recursive: true });
}
