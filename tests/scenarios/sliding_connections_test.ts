/** What is remembered of the connections of sliding sync when requests of one device overlap. */
import assert from "node:assert/strict";
import { nextTurn } from "../../src/lib/turn.ts";
import type { UserId } from "../../src/protocol/ids.ts";
import type { Database, Tx } from "../../src/storage/database.ts";
import { SlidingConnections } from "../../src/sync/sliding/connections.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { testEachDatabase } from "../harness/databases.ts";

const OWNER = { userId: "@alice:hs.test" as UserId, deviceId: "PHONE", connId: "" };
const NO_PROFILES = { fields: -2, sent: [], dropped: [] };
const NOTHING = { rooms: new Map(), members: new Map(), resetMembers: new Set<number>(), profiles: NO_PROFILES };

/** A database whose first transaction is committed long before its caller hears of it. */
function hesitant(db: Database, until: Promise<void>): Database {
  let isFirst = true;
  return {
    dialect: db.dialect,
    all: (query) => db.all(query),
    get: (query) => db.get(query),
    transaction: async <T>(work: (tx: Tx) => Promise<T>) => {
      const isLate = isFirst;
      isFirst = false;
      const result = await db.transaction(work);
      if (isLate) await until;
      return result;
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

testEachDatabase("a connection that another one replaced is unknown, whoever hears of its commit first", async (db) => {
  const late = Promise.withResolvers<void>();
  const connections = new SlidingConnections({ db: hesitant(db, late.promise), clock: new FakeClock() });
  const begun = [1, 2].map(() => connections.save(connections.begin(OWNER), NOTHING));
  // The second may end meanwhile, or wait for the first: either is right.
  for (let turn = 0; turn < 1_000; turn++) await nextTurn();
  late.resolve();
  const [first, second] = await Promise.all(begun);
  const resume = (at: { key: string; state: number } | undefined) =>
    connections.resume(OWNER, {
      pos: { connection: at?.key ?? "", state: at?.state ?? 0 } as Parameters<typeof connections.resume>[1]["pos"],
      text: "",
    });
  await assert.rejects(resume(first), { errcode: "M_UNKNOWN_POS" });
  assert.equal((await resume(second)).key, second?.key);
});
