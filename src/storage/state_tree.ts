/**
 * Room state as a persistent tree from state keys to events, both as numbers.
 *
 * Nodes never change: a new state shares with the old one all but the path to what differs, so a change costs
 * O(log n), equal roots are equal states, and comparing two states skips whatever they share. The shape depends on the
 * entries alone: a node is a leaf while it has at most 32 of them, else it has a child for each 5 bits of the hash.
 *
 * The algorithms are pure. They are generators that yield the numbers of the nodes they need and are given those nodes:
 * the caller decides whether they come from memory, at once, or from the database.
 */
import {
  countBits,
  countEntries,
  type Inner,
  isLeaf,
  type Leaf,
  type Ref,
  type Root,
  type TreeNode,
} from "./state_node.ts";

/** Yields numbers of nodes, or of none when it has worked for long; is given the nodes in the same order, returns `T`. */
export type TreeTask<T> = Generator<readonly number[], T, readonly TreeNode[]>;

/** Which of a root's two trees: that of `m.room.member`, or that of all else. */
export type StateHalf = "members" | "others";

/** A state key by its number, and which half of the state it belongs to. */
export interface TreeKey {
  readonly nid: number;
  readonly isMember: boolean;
}

/** One key to set, or to remove with null. */
export interface TreeChange extends TreeKey {
  readonly eventNid: number | null;
}

/** A key on which two states differ; null where a state does not have it. */
export interface TreeDifference {
  readonly stateKeyNid: number;
  readonly isMember: boolean;
  readonly before: number | null;
  readonly after: number | null;
}

type Pairs = [key: number, value: number | null][];
/** How far below the top. */
interface Place {
  readonly depth: number;
}

const MAX_LEAF = 32;
/** The hash has 32 bits: deeper than this, keys cannot be told apart by it. */
const MAX_DEPTH = 7;
const EMPTY_LEAF: Leaf = { keys: [], values: [] };
const EMPTY_INNER: Inner = { bitmap: 0, children: [], count: 0 };
/** More changes than this are made in parts, between which no nodes are asked for: a chance to do something else. */
const MAX_AT_ONCE = 2_000;

/** The root of the empty state, which has the number 0. */
export const EMPTY_ROOT: Root = { members: null, others: null };

/** Spreads numbers that were given out in a row. One-to-one on 32 bits. */
function hashOf(key: number): number {
  let hash = (key ^ Math.imul(Math.floor(key / 0x1_0000_0000), 0x85ebca6b)) | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function slotOf(key: number, depth: number): number {
  return (hashOf(key) >>> (5 * depth)) & 31;
}

/** Returns the value at a key, or null. */
export function* treeGet(root: Root, { nid, isMember }: TreeKey): TreeTask<number | null> {
  let node = isMember ? root.members : root.others;
  for (let depth = 0; node !== null; depth++) {
    if (isLeaf(node)) {
      const index = findKey(node.keys, nid);
      return node.keys[index] === nid ? node.values[index] ?? null : null;
    }
    const ref: Ref | undefined = childAt(node, slotOf(nid, depth));
    if (ref === undefined) return null;
    node = typeof ref === "number" ? (yield [ref])[0] ?? null : ref;
  }
  return null;
}

/** Returns all pairs of a half, in no order; each level of the tree is asked for at once. */
export function* treeEntries(root: Root, half: StateHalf): TreeTask<[number, number][]> {
  const entries: [number, number][] = [];
  let level: TreeNode[] = [];
  const top = root[half];
  if (top !== null) level = [top];
  while (level.length > 0) {
    const below: TreeNode[] = [];
    const wanted: number[] = [];
    for (const node of level) {
      if (isLeaf(node)) {
        for (const [index, key] of node.keys.entries()) entries.push([key, node.values[index] ?? 0]);
      } else {
        for (const child of node.children) {
          if (typeof child === "number") wanted.push(child);
          else below.push(child);
        }
      }
    }
    if (wanted.length > 0) below.push(...yield wanted);
    level = below;
  }
  return entries;
}

/**
 * Returns the root with changes made; the same object when they change nothing. Of several changes to one key the last
 * counts. New nodes are held by themselves, without numbers: see `numberNodes`.
 */
export function* treeSet(root: Root, changes: readonly TreeChange[]): TreeTask<Root> {
  const members = new Map<number, number | null>();
  const others = new Map<number, number | null>();
  for (const { nid, isMember, eventNid } of changes) (isMember ? members : others).set(nid, eventNid);
  const newMembers = yield* setIn(root.members, [...members], { depth: 0 });
  const newOthers = yield* setIn(root.others, [...others], { depth: 0 });
  if (newMembers === root.members && newOthers === root.others) return root;
  return { members: newMembers, others: newOthers };
}

/** Returns the keys on which two states differ, in no order; shared nodes are not looked into. */
export function* treeDiff(before: Root, after: Root): TreeTask<TreeDifference[]> {
  return [
    ...yield* diffHalf([before.members, after.members], { isMember: true }),
    ...yield* diffHalf([before.others, after.others], { isMember: false }),
  ];
}

function* setIn(node: TreeNode | null, changes: Pairs, { depth }: Place): TreeTask<TreeNode | null> {
  if (changes.length === 0) return node;
  if ((node === null || isLeaf(node)) && depth === 0 && countSet(changes) > MAX_AT_ONCE) {
    return yield* setInInner(EMPTY_INNER, [...new Map([...pairsOf(node ?? EMPTY_LEAF), ...changes])], { depth });
  }
  if (node === null || isLeaf(node)) {
    const merged = mergeLeaf(node ?? EMPTY_LEAF, changes);
    if (merged === node || merged.keys.length === 0) return merged === node ? node : null;
    return grow(merged, { depth });
  }
  return yield* setInInner(node, changes, { depth });
}

function* setInInner(node: Inner, changes: Pairs, { depth }: Place): TreeTask<TreeNode | null> {
  const bySlot: (Pairs | undefined)[] = [];
  for (const change of changes) (bySlot[slotOf(change[0], depth)] ??= []).push(change);
  const old = yield* loadChildren(node, bySlot);
  const children: Ref[] = [];
  let bitmap = 0;
  let count = node.count;
  let isChanged = false;
  for (let slot = 0; slot < 32; slot++) {
    const ref = childAt(node, slot);
    const part = bySlot[slot];
    let now: Ref | null = ref ?? null;
    if (part !== undefined) {
      if (depth === 0 && changes.length > MAX_AT_ONCE) yield [];
      const child = old[slot] ?? null;
      const changed = yield* setIn(child, part, { depth: depth + 1 });
      if (changed !== child) {
        isChanged = true;
        count += countEntries(changed) - countEntries(child);
        now = changed;
      }
    }
    if (now === null) continue;
    bitmap |= 1 << slot;
    children.push(now);
  }
  if (!isChanged) return node;
  const made: Inner = { bitmap, children, count };
  return count > MAX_LEAF ? made : yield* collapse(made);
}

function countSet(changes: Pairs): number {
  return changes.reduce((sum, [, value]) => value === null ? sum : sum + 1, 0);
}

function pairsOf({ keys, values }: Leaf): Pairs {
  return keys.map((key, index) => [key, values[index] ?? 0]);
}

/** Returns the children that changes go to, by slot. */
function* loadChildren(node: Inner, bySlot: readonly (Pairs | undefined)[]): TreeTask<(TreeNode | undefined)[]> {
  const loaded: (TreeNode | undefined)[] = [];
  const wanted: number[] = [];
  const slots: number[] = [];
  for (let slot = 0; slot < bySlot.length; slot++) {
    const ref = bySlot[slot] === undefined ? undefined : childAt(node, slot);
    if (typeof ref === "number") {
      wanted.push(ref);
      slots.push(slot);
    } else loaded[slot] = ref;
  }
  const nodes = wanted.length > 0 ? yield wanted : [];
  for (const [index, slot] of slots.entries()) loaded[slot] = nodes[index];
  return loaded;
}

/** Makes a leaf of an inner node that has few entries left; null when it has none. */
function* collapse(node: Inner): TreeTask<Leaf | null> {
  const pairs = yield* treeEntries({ members: node, others: null }, "members");
  if (pairs.length === 0) return null;
  return mergeLeaf(EMPTY_LEAF, pairs);
}

/** Splits a leaf that has grown too large. */
function grow(leaf: Leaf, { depth }: Place): TreeNode {
  if (leaf.keys.length <= MAX_LEAF || depth >= MAX_DEPTH) return leaf;
  const parts: ({ keys: number[]; values: number[] } | undefined)[] = [];
  for (const [index, key] of leaf.keys.entries()) {
    const part = parts[slotOf(key, depth)] ??= { keys: [], values: [] };
    part.keys.push(key);
    part.values.push(leaf.values[index] ?? 0);
  }
  let bitmap = 0;
  const children: Ref[] = [];
  for (const [slot, part] of parts.entries()) {
    if (part === undefined) continue;
    bitmap |= 1 << slot;
    children.push(grow(part, { depth: depth + 1 }));
  }
  return { bitmap, children, count: leaf.keys.length };
}

/** Returns the leaf with changes made, which may be too large; the same object when they change nothing. */
function mergeLeaf(leaf: Leaf, changes: Pairs): Leaf {
  const sorted = changes.length > 1 ? [...changes].sort(([a], [b]) => a - b) : changes;
  const keys: number[] = [];
  const values: number[] = [];
  let isChanged = false;
  let at = 0;
  const copyUpTo = (key: number) => {
    for (; at < leaf.keys.length && (leaf.keys[at] ?? 0) < key; at++) {
      keys.push(leaf.keys[at] ?? 0);
      values.push(leaf.values[at] ?? 0);
    }
  };
  for (const [key, value] of sorted) {
    copyUpTo(key);
    const old = leaf.keys[at] === key ? leaf.values[at++] ?? null : null;
    if (old !== value) isChanged = true;
    if (value === null) continue;
    keys.push(key);
    values.push(value);
  }
  copyUpTo(Infinity);
  return isChanged ? { keys, values } : leaf;
}

type NodePair = readonly [before: Ref | null, after: Ref | null];

/** Walks both trees level by level; subtrees with the same number, or the same object, are skipped. */
function* diffHalf(tops: NodePair, { isMember }: { isMember: boolean }): TreeTask<TreeDifference[]> {
  const found: TreeDifference[] = [];
  let pairs: NodePair[] = tops[0] === tops[1] ? [] : [tops];
  while (pairs.length > 0) {
    const loaded = yield* loadPairs(pairs);
    pairs = [];
    for (const [old, now] of loaded) {
      if (old !== null && now !== null && !isLeaf(old) && !isLeaf(now)) pairs.push(...childPairs(old, now));
      else yield* diffUneven(old, now, { isMember, found });
    }
  }
  return found;
}

function* loadPairs(pairs: readonly NodePair[]): TreeTask<[TreeNode | null, TreeNode | null][]> {
  const wanted: number[] = [];
  for (const pair of pairs) for (const ref of pair) if (typeof ref === "number") wanted.push(ref);
  const nodes = wanted.length > 0 ? yield wanted : [];
  let next = 0;
  const nodeOf = (ref: Ref | null) => typeof ref === "number" ? nodes[next++] ?? null : ref;
  return pairs.map(([old, now]) => [nodeOf(old), nodeOf(now)]);
}

function childPairs(old: Inner, now: Inner): NodePair[] {
  const pairs: NodePair[] = [];
  for (let slot = 0; slot < 32; slot++) {
    const before = childAt(old, slot) ?? null;
    const after = childAt(now, slot) ?? null;
    if (before !== after) pairs.push([before, after]);
  }
  return pairs;
}

/** Compares nodes of which at most one has children: the other has few entries, so both are listed. */
function* diffUneven(
  old: TreeNode | null,
  now: TreeNode | null,
  { isMember, found }: { isMember: boolean; found: TreeDifference[] },
): TreeTask<void> {
  const rest = new Map(yield* treeEntries({ members: old, others: null }, "members"));
  for (const [key, value] of yield* treeEntries({ members: now, others: null }, "members")) {
    const before = rest.get(key) ?? null;
    rest.delete(key);
    if (before !== value) found.push({ stateKeyNid: key, isMember, before, after: value });
  }
  for (const [key, value] of rest) found.push({ stateKeyNid: key, isMember, before: value, after: null });
}

function childAt(node: Inner, slot: number): Ref | undefined {
  const bit = 1 << slot;
  return (node.bitmap & bit) === 0 ? undefined : node.children[countBits(node.bitmap & (bit - 1))];
}

/** Returns the index of the first key that is not below `key`. */
function findKey(keys: readonly number[], key: number): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] ?? 0) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A node that has got its number. */
export interface NumberedNode<N> {
  readonly id: number;
  readonly node: N;
}

/** Returns how many numbers `numberNodes` takes. */
export function countNewNodes(root: Root): number {
  const count = (node: TreeNode): number => {
    if (isLeaf(node)) return 0;
    return node.children.reduce<number>((sum, ref) => typeof ref === "number" ? sum : sum + 1 + count(ref), 0);
  };
  return 1 + (root.members === null ? 0 : count(root.members)) + (root.others === null ? 0 : count(root.others));
}

/** Gives the numbers `ids` to all new nodes below the root and to the root itself. */
export function numberNodes(
  root: Root,
  ids: readonly number[],
): { root: NumberedNode<Root>; below: NumberedNode<TreeNode>[] } {
  const below: NumberedNode<TreeNode>[] = [];
  let taken = 0;
  const takeId = (): number => {
    const id = ids[taken++];
    if (id === undefined) throw new Error("There are more new nodes than numbers for them");
    return id;
  };
  const numberChildren = (node: TreeNode): TreeNode => {
    if (isLeaf(node) || node.children.every((ref) => typeof ref === "number")) return node;
    const children = node.children.map((ref) => {
      if (typeof ref === "number") return ref;
      const numbered = { node: numberChildren(ref), id: takeId() };
      below.push(numbered);
      return numbered.id;
    });
    return { ...node, children };
  };
  const numbered: Root = {
    members: root.members === null ? null : numberChildren(root.members),
    others: root.others === null ? null : numberChildren(root.others),
  };
  return { root: { id: takeId(), node: numbered }, below };
}
