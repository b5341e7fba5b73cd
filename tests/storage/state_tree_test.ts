import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import {
  decodeNode,
  encodeNode,
  isRoot,
  type Root,
  type StateNode,
  type TreeNode,
} from "../../src/storage/state_node.ts";
import {
  countNewNodes,
  EMPTY_ROOT,
  numberNodes,
  type TreeChange,
  treeDiff,
  treeEntries,
  treeGet,
  treeSet,
  type TreeTask,
} from "../../src/storage/state_tree.ts";

/** Keeps every node as bytes, so that what is read has been encoded and decoded. */
class Store {
  readonly rows = new Map<number, Uint8Array>();
  reads = 0;
  written = 0;
  #nextId = 1;

  constructor(firstId = 1) {
    this.#nextId = firstId;
  }

  root(id: number): Root {
    if (id === 0) return EMPTY_ROOT;
    const node = this.#read(id);
    ok(isRoot(node));
    return node;
  }

  run<T>(task: TreeTask<T>): T {
    let step = task.next();
    while (!step.done) step = task.next(step.value.map((id) => this.#read(id) as TreeNode));
    return step.value;
  }

  set(root: number, changes: readonly TreeChange[]): number {
    const before = this.root(root);
    const after = this.run(treeSet(before, changes));
    if (after === before) return root;
    if (after.members === null && after.others === null) return 0;
    const expected = countNewNodes(after);
    const { root: numbered, below } = numberNodes(after, Array.from({ length: expected }, () => this.#nextId++));
    equal(below.length + 1, expected);
    for (const { id, node } of [...below, numbered]) {
      const data = encodeNode(node);
      this.written += data.length;
      this.rows.set(id, data);
    }
    return numbered.id;
  }

  entries(root: number): Map<string, number> {
    const all = new Map<string, number>();
    for (const half of ["members", "others"] as const) {
      for (const [key, value] of this.run(treeEntries(this.root(root), half))) {
        ok(!all.has(`${half}:${key}`));
        all.set(`${half}:${key}`, value);
      }
    }
    return all;
  }

  #read(id: number): StateNode {
    const data = this.rows.get(id);
    ok(data);
    this.reads++;
    return decodeNode(data);
  }
}

const change: fc.Arbitrary<TreeChange> = fc.record({
  nid: fc.oneof(fc.integer({ min: 1, max: 120 }), fc.maxSafeNat()),
  isMember: fc.boolean(),
  eventNid: fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 1, max: 2 ** 40 }) }, {
    weight: 2,
    arbitrary: fc.constant(null),
  }),
});
const batches = fc.array(fc.array(change, { maxLength: 90, size: "max" }), { maxLength: 12, size: "max" });

function applyTo(map: Map<string, number>, changes: readonly TreeChange[]): void {
  for (const { nid, isMember, eventNid } of changes) {
    const key = `${isMember ? "members" : "others"}:${nid}`;
    if (eventNid === null) map.delete(key);
    else map.set(key, eventNid);
  }
}

Deno.test("a state tree holds what a Map holds, and old roots stay as they were", () => {
  fc.assert(
    fc.property(batches, (steps) => {
      const store = new Store();
      const map = new Map<string, number>();
      const history: [number, Map<string, number>][] = [];
      let root = 0;
      for (const changes of steps) {
        root = store.set(root, changes);
        applyTo(map, changes);
        history.push([root, new Map(map)]);
      }
      for (const [at, expected] of history) deepEqual(store.entries(at), expected);
      for (const { nid, isMember } of steps.flat()) {
        const expected = map.get(`${isMember ? "members" : "others"}:${nid}`) ?? null;
        equal(store.run(treeGet(store.root(root), { nid, isMember })), expected);
      }
      if (map.size === 0) equal(root, 0);
    }),
    { numRuns: 150 },
  );
});

Deno.test("diff() of any two states is what differs between their Maps", () => {
  fc.assert(
    fc.property(batches, fc.nat(), fc.nat(), (steps, a, b) => {
      const store = new Store();
      const history: [number, Map<string, number>][] = [[0, new Map()]];
      let root = 0;
      const map = new Map<string, number>();
      for (const changes of steps) {
        root = store.set(root, changes);
        applyTo(map, changes);
        history.push([root, new Map(map)]);
      }
      const [before, after] = [history[a % history.length], history[b % history.length]];
      ok(before && after);
      const found = store.run(treeDiff(store.root(before[0]), store.root(after[0])));
      const expected = new Map<string, [number | null, number | null]>();
      for (const key of new Set([...before[1].keys(), ...after[1].keys()])) {
        const pair: [number | null, number | null] = [before[1].get(key) ?? null, after[1].get(key) ?? null];
        if (pair[0] !== pair[1]) expected.set(key, pair);
      }
      equal(found.length, expected.size);
      for (const { stateKeyNid, isMember, before: old, after: now } of found) {
        deepEqual([old, now], expected.get(`${isMember ? "members" : "others"}:${stateKeyNid}`));
      }
    }),
    { numRuns: 150 },
  );
});

Deno.test("the shape of a tree depends on its entries alone", () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 200, size: "max" }), (changes) => {
      const store = new Store();
      const step = changes.reduce((root, one) => store.set(root, [one]), 0);
      const last = new Map(changes.map((one) => [`${one.isMember}:${one.nid}`, one]));
      const once = store.set(0, [...last.values()]);
      deepEqual(shapeOf(store, step), shapeOf(store, once));
    }),
    { numRuns: 100 },
  );
});

function shapeOf(store: Store, root: number): unknown {
  const shape = (node: TreeNode | null): unknown => {
    if (node === null || "keys" in node) return node;
    const ids = node.children.map((ref) => ref as number);
    return {
      bitmap: node.bitmap,
      count: node.count,
      children: ids.map((id) => shape(decodeNode(store.rows.get(id) ?? new Uint8Array()) as TreeNode)),
    };
  };
  const { members, others } = store.root(root);
  return [shape(members), shape(others)];
}

Deno.test("a change that changes nothing makes no node", () => {
  const store = new Store();
  const changes = Array.from({ length: 500 }, (_, n) => ({ nid: n + 1, isMember: true, eventNid: n + 1000 }));
  const root = store.set(0, changes);
  const count = store.rows.size;
  equal(store.set(root, changes.slice(100, 200)), root);
  equal(store.set(root, [{ nid: 9999, isMember: true, eventNid: null }]), root);
  equal(store.rows.size, count);
});

Deno.test("keys whose hashes are equal are kept apart", () => {
  const store = new Store();
  // These agree in their low 32 bits once the high ones are mixed in: 40 of them cannot be split by hash.
  const keys = Array.from({ length: 40 }, (_, n) => n * 0x1_0000_0000 + ((Math.imul(n, 0x85ebca6b) ^ 7) >>> 0));
  const root = store.set(0, keys.map((nid) => ({ nid, isMember: false, eventNid: nid + 1 })));
  equal(store.entries(root).size, 40);
  for (const nid of keys) equal(store.run(treeGet(store.root(root), { nid, isMember: false })), nid + 1);
});

Deno.test("100,000 entries: a change touches few nodes, and diff() reads no more than what differs", () => {
  const store = new Store(50_000_000);
  const others = Array.from({ length: 14 }, (_, n) => ({ nid: n + 1, isMember: false, eventNid: 70_000_000 + n }));
  let root = store.set(0, others);
  const map = new Map<string, number>();
  applyTo(map, others);
  for (let at = 0; at < 100_000; at += 1000) {
    const batch = Array.from(
      { length: 1000 },
      (_, n) => ({ nid: 100 + (at + n) * 3, isMember: true, eventNid: 80_000_000 + at + n }),
    );
    root = store.set(root, batch);
    applyTo(map, batch);
  }
  deepEqual(store.entries(root), map);
  const before = root;
  const [rows, written] = [store.rows.size, store.written];
  for (let n = 0; n < 100; n++) {
    root = store.set(root, [{ nid: 100 + n * 2997, isMember: true, eventNid: 90_000_000 + n }]);
  }
  ok(store.rows.size - rows <= 400);
  ok(store.written - written <= 60_000);
  store.reads = 0;
  equal(store.run(treeDiff(store.root(before), store.root(root))).length, 100);
  ok(store.reads < 800);
});

Deno.test("100,000 entries: whatever is changed, the tree holds what a Map holds, and diff() finds it", () => {
  const store = new Store();
  const map = new Map<string, number>();
  const start = Array.from({ length: 100_000 }, (_, n) => ({ nid: n + 1, isMember: n % 10 > 0, eventNid: n + 1 }));
  const before = store.set(0, start);
  applyTo(map, start);
  const oneOfMany = fc.record({
    nid: fc.oneof(fc.integer({ min: 1, max: 110_000 }), fc.maxSafeNat()),
    isMember: fc.boolean(),
    eventNid: fc.oneof(fc.integer({ min: 1, max: 2 ** 40 }), fc.constant(null)),
  });
  const steps = fc.array(fc.array(oneOfMany, { maxLength: 500, size: "max" }), { maxLength: 4, size: "max" });
  fc.assert(
    fc.property(steps, (batches) => {
      const changed = new Map(map);
      let root = before;
      for (const changes of batches) {
        root = store.set(root, changes);
        applyTo(changed, changes);
      }
      ok(isSameMap(store.entries(root), changed));
      const found = store.run(treeDiff(store.root(before), store.root(root)));
      const undone = new Map(changed);
      applyTo(
        undone,
        found.map(({ stateKeyNid, isMember, before }) => ({ nid: stateKeyNid, isMember, eventNid: before })),
      );
      ok(isSameMap(undone, map));
      ok(found.every(({ before, after }) => before !== after));
    }),
    { numRuns: 4 },
  );
  ok(isSameMap(store.entries(before), map));
});

/** `deepEqual` takes seconds for maps of this size. */
function isSameMap(one: ReadonlyMap<string, number>, two: ReadonlyMap<string, number>): boolean {
  return one.size === two.size && [...one].every(([key, value]) => two.get(key) === value);
}

Deno.test("10,000 members: a member's change writes at most 450 bytes", () => {
  const store = new Store(5_000_000);
  const others = Array.from({ length: 14 }, (_, n) => ({ nid: n + 1, isMember: false, eventNid: 7_000_000 + n }));
  let root = store.set(0, others);
  for (let n = 0; n < 10_000; n++) {
    root = store.set(root, [{ nid: 100 + n * 7, isMember: true, eventNid: 8_000_000 + n }]);
  }
  const written = store.written;
  for (let n = 0; n < 100; n++) {
    root = store.set(root, [{ nid: 100 + n * 693, isMember: true, eventNid: 9_000_000 + n }]);
  }
  const each = (store.written - written) / 100;
  ok(each <= 450, `${each} bytes`);
});

Deno.test("treeSet() makes many changes as it makes few", () => {
  const many = new Store();
  const few = new Store();
  const changes = Array.from({ length: 7_000 }, (_, index): TreeChange => {
    return { nid: index * 7, isMember: index % 5 > 0, eventNid: index + 1 };
  });
  const start = [{ nid: 7, isMember: true, eventNid: 9_999 }, { nid: 3, isMember: true, eventNid: 5 }];
  let [atOnce, oneByOne] = [many.set(many.set(0, start), changes), few.set(0, start)];
  for (let at = 0; at < changes.length; at += 100) oneByOne = few.set(oneByOne, changes.slice(at, at + 100));
  const entriesOf = (store: Store, root: number) =>
    (["members", "others"] as const).flatMap((half) => store.run(treeEntries(store.root(root), half))).sort((
      [a],
      [b],
    ) => a - b);
  deepEqual(entriesOf(many, atOnce), entriesOf(few, oneByOne));
  equal(many.set(atOnce, changes), atOnce, "the same root when nothing changes");
  const removed = changes.map((change) => ({ ...change, eventNid: null }));
  atOnce = many.set(atOnce, removed);
  deepEqual(entriesOf(many, atOnce), [[3, 5]]);
  equal(many.set(atOnce, removed), atOnce, "what is not there cannot be removed");
});
