/**
 * The state trees of all rooms: the algorithms of `state_tree.ts` over the table `state_nodes`, with a cache of decoded
 * nodes. Work on nodes that are cached never leaves the current turn of the event loop.
 *
 * New nodes are in the cache as soon as they have numbers, before they are committed: numbers are never given twice, so
 * nodes of a transaction that fails are merely unused.
 */
import { Buffer } from "node:buffer";
import { LruCache } from "../lib/lru.ts";
import { inTurns, nextTurn } from "../lib/turn.ts";
import type { Db, Tx } from "./database.ts";
import { DatabaseError } from "./database_error.ts";
import type { IdAllocator } from "./id_blocks.ts";
import { numberTable, sql } from "./sql.ts";
import { bigints, type RowWriter, texts } from "./together.ts";
import { decodeNode, encodeNode, isRoot, type Root, type StateNode, type TreeNode } from "./state_node.ts";
import {
  countNewNodes,
  EMPTY_ROOT,
  numberNodes,
  type StateHalf,
  type TreeChange,
  treeDiff,
  type TreeDifference,
  treeEntries,
  treeGet,
  type TreeKey,
  treeSet,
  type TreeTask,
} from "./state_tree.ts";

const DEFAULT_CACHE_BYTES = 16 * 1024 * 1024;
const NODE_OVERHEAD_BYTES = 160;
const BYTES_PER_NUMBER = 8;
/** Encoding this many takes a few milliseconds. */
const NODES_A_TURN = 250;

/** A node to insert, with its bytes. */
export interface NewStateNode {
  readonly nodeId: number;
  readonly data: Uint8Array;
}

/** A new state: its root, and the nodes that must be inserted with the first event that refers to it. */
export interface NewState {
  readonly root: number;
  readonly nodes: readonly NewStateNode[];
}

/** Reads and makes states. A state is the number of its root; 0 is the empty state. */
export class StateTrees {
  readonly #db: Db;
  readonly #ids: IdAllocator;
  readonly #nodes: LruCache<number, StateNode>;
  readonly #cacheBytes: number;

  constructor({ db, ids, cacheBytes = DEFAULT_CACHE_BYTES }: { db: Db; ids: IdAllocator; cacheBytes?: number }) {
    this.#db = db;
    this.#ids = ids;
    this.#cacheBytes = cacheBytes;
    this.#nodes = new LruCache({ name: "state_nodes", maxBytes: cacheBytes, sizeOf: sizeOfNode });
  }

  /** Makes the cache so many times as big as it is by default. */
  scaleCache(factor: number): void {
    this.#nodes.resize(this.#cacheBytes * factor);
  }

  /** Returns the event at a key, or null. */
  async get(root: number, key: TreeKey): Promise<number | null> {
    return await this.#run(treeGet(await this.#root(root), key));
  }

  /** Returns what `get` would resolve with if all it takes is in memory; else undefined. */
  peek(root: number, key: TreeKey): number | null | undefined {
    const node = root === 0 ? EMPTY_ROOT : this.#nodes.get(root);
    if (node === undefined || !isRoot(node)) return undefined;
    const task = treeGet(node, key);
    for (let step = task.next();;) {
      if (step.done) return step.value;
      const nodes = this.#cached(step.value);
      if (nodes === null) return undefined;
      step = task.next(nodes);
    }
  }

  /** Returns the events at keys, in the order of the keys; null where there is none. */
  async getMany(root: number, keys: readonly TreeKey[]): Promise<(number | null)[]> {
    return await Promise.all(keys.map((key) => this.peek(root, key) ?? this.get(root, key)));
  }

  /** Returns pairs of state key and event, in no order. */
  async entries(root: number, half: StateHalf): Promise<[number, number][]> {
    return await this.#run(treeEntries(await this.#root(root), half));
  }

  /** Returns the keys on which two states differ. Costs as much as they differ. */
  async diff(before: number, after: number): Promise<TreeDifference[]> {
    if (before === after) return [];
    return await this.#run(treeDiff(await this.#root(before), await this.#root(after)));
  }

  /**
   * Returns the state with changes made to it; the same root and no nodes when they change nothing. Not to be awaited
   * inside a transaction, because it may lease ids.
   */
  async setMany(root: number, changes: readonly TreeChange[]): Promise<NewState> {
    const before = await this.#root(root);
    const after = await this.#run(treeSet(before, changes));
    if (after === before) return { root, nodes: [] };
    if (after.members === null && after.others === null) return { root: 0, nodes: [] };
    const numbered = numberNodes(after, await this.#ids.take(countNewNodes(after)));
    const nodes: NewStateNode[] = [];
    for await (const part of inTurns([...numbered.below, numbered.root], NODES_A_TURN)) {
      for (const { id, node } of part) {
        this.#nodes.set(id, node);
        nodes.push({ nodeId: id, data: encodeNode(node) });
      }
    }
    return { root: numbered.root.id, nodes };
  }

  async #root(id: number): Promise<Root> {
    if (id === 0) return EMPTY_ROOT;
    const node = this.#nodes.get(id) ?? (await this.#load([id])).get(id);
    if (node === undefined || !isRoot(node)) throw new DatabaseError("driver", `State ${id} is not in the database`);
    return node;
  }

  async #run<T>(task: TreeTask<T>): Promise<T> {
    for (let step = task.next();;) {
      if (step.done) return step.value;
      if (step.value.length === 0) await nextTurn();
      step = task.next(this.#cached(step.value) ?? await this.#treeNodes(step.value));
    }
  }

  /** Returns the nodes if all are in memory, else null. */
  #cached(ids: readonly number[]): TreeNode[] | null {
    const nodes: TreeNode[] = [];
    for (const id of ids) {
      const node = this.#nodes.get(id);
      if (node === undefined || isRoot(node)) return null;
      nodes.push(node);
    }
    return nodes;
  }

  async #treeNodes(ids: readonly number[]): Promise<TreeNode[]> {
    const missing = ids.filter((id) => this.#nodes.peek(id) === undefined);
    // Kept aside: a cache smaller than what is asked for would drop some before they are used.
    const known = new Map(ids.map((id) => [id, this.#nodes.get(id)]));
    for (const [id, node] of await this.#load(missing)) known.set(id, node);
    return ids.map((id) => {
      const node = known.get(id);
      if (node === undefined || isRoot(node)) throw new DatabaseError("driver", `State node ${id} is missing`);
      return node;
    });
  }

  async #load(ids: readonly number[]): Promise<Map<number, StateNode>> {
    const loaded = await selectStateNodes(this.#db, ids);
    for (const [id, node] of loaded) this.#nodes.set(id, node);
    return loaded;
  }
}

function sizeOfNode(node: StateNode): number {
  const numbersIn = (tree: TreeNode | null): number => {
    if (tree === null) return 0;
    return "keys" in tree ? tree.keys.length * 2 : tree.children.length;
  };
  const numbers = isRoot(node) ? numbersIn(node.members) + numbersIn(node.others) : numbersIn(node);
  return NODE_OVERHEAD_BYTES + numbers * BYTES_PER_NUMBER;
}

/** Returns decoded nodes by id; unknown ids are left out. */
export async function selectStateNodes(db: Db, ids: readonly number[]): Promise<Map<number, StateNode>> {
  const rows = await db.all<{ node_id: number; data: Uint8Array }>(sql`
    SELECT n.node_id, n.data FROM ${numberTable(ids)} AS wanted JOIN state_nodes n ON n.node_id = wanted.value`);
  return new Map(rows.map(({ node_id, data }) => [node_id, decodeNode(data)]));
}

/** Inserts nodes that `setMany` made, in the transaction that first refers to them. */
export async function insertStateNodes(
  tx: Tx,
  { roomNid, nodes }: { roomNid: number; nodes: readonly NewStateNode[] },
): Promise<void> {
  await tx.writeTogether(NODES, nodes.map((node) => ({ ...node, roomNid })));
}

const NODES: RowWriter<NewStateNode & { readonly roomNid: number }> = {
  each: ({ nodeId, roomNid, data }) =>
    sql`INSERT INTO state_nodes (node_id, room_nid, data) VALUES (${nodeId}, ${roomNid}, ${data})`,
  many: (rows) =>
    sql`INSERT INTO state_nodes (node_id, room_nid, data)
    SELECT node_id, room_nid, decode(data, 'hex')
    FROM unnest(${bigints(rows.map(({ nodeId }) => nodeId))}, ${bigints(rows.map(({ roomNid }) => roomNid))},
      ${texts(rows.map(({ data }) => Buffer.from(data).toString("hex")))}) AS node (node_id, room_nid, data)`,
};
