import { deepEqual, equal, rejects } from "node:assert/strict";
import type { Database, Tx } from "../../src/storage/database.ts";
import { IdAllocator } from "../../src/storage/id_blocks.ts";
import { sql } from "../../src/storage/sql.ts";
import { insertStateNodes, StateTrees } from "../../src/storage/state_nodes.ts";
import { StateSweep } from "../../src/storage/state_sweep.ts";
import type { TreeChange } from "../../src/storage/state_tree.ts";
import { testEachDatabase } from "../harness/databases.ts";

const ROOM = 1;

function makeTrees(db: Database, cacheBytes?: number): StateTrees {
  const ids = new IdAllocator({ db, sequence: "state_node" });
  return new StateTrees({ db, ids, ...cacheBytes !== undefined && { cacheBytes } });
}

function members(from: number, to: number): TreeChange[] {
  return Array.from({ length: to - from }, (_, n) => ({ nid: from + n, isMember: true, eventNid: 10_000 + from + n }));
}

/** Stores a state, and with `event` an event at it in the same transaction. */
async function store(
  db: Database,
  { trees, root, changes, event }: { trees: StateTrees; root: number; changes: TreeChange[]; event?: number },
): Promise<number> {
  const state = await trees.setMany(root, changes);
  await db.transaction(async (tx) => {
    await insertStateNodes(tx, { roomNid: ROOM, nodes: state.nodes });
    if (event !== undefined) await insertEvent(tx, { nid: event, root: state.root });
  });
  return state.root;
}

async function insertEvent(tx: Tx, { nid, root }: { nid: number; root: number }): Promise<void> {
  await tx.run(sql`
    INSERT INTO events (event_nid, event_id, room_nid, type, sender, depth, origin_server_ts, received_ts, is_outlier,
      is_rejected, is_soft_failed, auth_rank, state_before, state_after)
    VALUES (${nid}, ${`$${nid}`}, ${ROOM}, 'm.test', '@a:b', 1, 1, 1, ${false}, ${false}, ${false}, 1, ${root}, ${root})`);
}

testEachDatabase("a state is read back by another process", async (db) => {
  const trees = makeTrees(db);
  const other = { nid: 5, isMember: false, eventNid: 77 };
  const root = await store(db, { trees, root: 0, changes: [...members(100, 400), other] });
  // A cache too small for anything: every node comes from the database.
  const fresh = makeTrees(db, 1);
  equal(fresh.peek(root, other), undefined);
  equal(await fresh.get(root, other), 77);
  equal(await fresh.get(root, { nid: 100, isMember: true }), 10_100);
  equal(await fresh.get(root, { nid: 100, isMember: false }), null);
  deepEqual(await fresh.getMany(root, [{ nid: 399, isMember: true }, { nid: 400, isMember: true }]), [10_399, null]);
  equal((await fresh.entries(root, "members")).length, 300);
  deepEqual(await fresh.entries(root, "others"), [[5, 77]]);
  equal(trees.peek(root, { nid: 150, isMember: true }), 10_150);
  equal(trees.peek(root, { nid: 1, isMember: true }), null);
  await rejects(() => fresh.get(999_999, other), /not in the database/);
});

testEachDatabase("a change that changes nothing keeps the root, and removing all gives the empty state", async (db) => {
  const trees = makeTrees(db);
  const root = await store(db, { trees, root: 0, changes: members(1, 50) });
  deepEqual(await trees.setMany(root, members(1, 50)), { root, nodes: [] });
  const removed = members(1, 50).map((change) => ({ ...change, eventNid: null }));
  deepEqual(await trees.setMany(root, removed), { root: 0, nodes: [] });
  equal((await trees.diff(root, 0)).length, 49);
  deepEqual(await trees.diff(root, root), []);
});

testEachDatabase("a sweep removes what no event of the room refers to, and nothing else", async (db) => {
  const trees = makeTrees(db);
  const first = await store(db, { trees, root: 0, changes: members(1, 500), event: 1 });
  const second = await store(db, { trees, root: first, changes: [{ nid: 7, isMember: true, eventNid: 1 }], event: 2 });
  const third = await store(db, { trees, root: second, changes: [{ nid: 8, isMember: true, eventNid: 2 }] });
  await db.transaction((tx) =>
    tx.run(sql`
    INSERT INTO rooms (room_nid, room_id, room_version, state_root, last_position, joined_members, invited_members,
      is_public, created_ts)
    VALUES (${ROOM}, '!r:b', '12', ${third}, 0, 0, 0, ${false}, 0)`)
  );
  equal(await runSweep(db), 0);
  await db.transaction((tx) => tx.run(sql`DELETE FROM events WHERE event_nid = ${2}`));
  const before = await makeTrees(db).entries(third, "members");
  const sweep = new StateSweep({ db, roomNid: ROOM, stepRows: 3 });
  // What comes while it runs is kept.
  await sweep.step();
  const during = await store(db, { trees, root: third, changes: [{ nid: 9, isMember: true, eventNid: 3 }], event: 3 });
  let steps = 0;
  while (!await sweep.step()) steps++;
  equal(steps > 5, true);
  // The second root and the leaf that the third state replaced.
  equal(sweep.removed >= 1 && sweep.removed <= 3, true);
  const fresh = makeTrees(db);
  deepEqual(await fresh.entries(third, "members"), before);
  equal((await fresh.entries(first, "members")).length, 499);
  equal(await fresh.get(during, { nid: 9, isMember: true }), 3);
  await rejects(() => fresh.get(second, { nid: 7, isMember: true }), /not in the database/);
});

async function runSweep(db: Database): Promise<number> {
  const sweep = new StateSweep({ db, roomNid: ROOM, stepRows: 4 });
  while (!await sweep.step());
  return sweep.removed;
}
