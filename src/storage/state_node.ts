/**
 * The nodes of the state tree, in memory and as bytes.
 *
 * A leaf lists pairs of key and value sorted by key. An inner node has up to 32 children by 5 bits of the key's hash.
 * A root holds the top nodes of two trees, one for the members and one for everything else, so that a small room's
 * state is one node and a change writes few rows.
 *
 * Bytes: a tag, then for a leaf the number of entries, keys as differences, and values; for an inner node the bitmap
 * of its children, the number of entries below it, and the children's ids. Values and ids are the least of them, the
 * width of the differences from it, and these differences in that width. Numbers without a width are LEB128.
 */

/** Pairs of key and value, sorted by key. */
export interface Leaf {
  readonly keys: readonly number[];
  readonly values: readonly number[];
}

/** Children by slot: the n-th child belongs to the n-th bit that is set in `bitmap`. */
export interface Inner {
  readonly bitmap: number;
  readonly children: readonly Ref[];
  /** Entries below this node. */
  readonly count: number;
}

/** A node by its number, or the node itself as long as it has none. */
export type Ref = number | Leaf | Inner;

/** A node of one of the two trees. */
export type TreeNode = Leaf | Inner;

/** The tops of both trees; null for an empty one. */
export interface Root {
  readonly members: TreeNode | null;
  readonly others: TreeNode | null;
}

/** What has a number and a row. */
export type StateNode = Root | TreeNode;

/** Tells leaves from inner nodes. */
export function isLeaf(node: TreeNode): node is Leaf {
  return "keys" in node;
}

/** Tells roots from nodes inside a tree. */
export function isRoot(node: StateNode): node is Root {
  return "members" in node;
}

/** Returns the number of entries at and below a node. */
export function countEntries(node: TreeNode | null): number {
  if (node === null) return 0;
  return isLeaf(node) ? node.keys.length : node.count;
}

/** Returns the numbers of the nodes right below, for marking what is in use. */
export function childIds(node: StateNode): number[] {
  const tops = isRoot(node) ? [node.members, node.others] : [node];
  const ids: number[] = [];
  for (const top of tops) {
    if (top === null || isLeaf(top)) continue;
    for (const child of top.children) ids.push(numberOf(child));
  }
  return ids;
}

const TAG_EMPTY = 0;
const TAG_LEAF = 1;
const TAG_INNER = 2;
const TAG_ROOT = 3;

/** Returns a node's bytes. Its children must be numbered. */
export function encodeNode(node: StateNode): Uint8Array {
  const out = new Writer();
  if (isRoot(node)) {
    out.byte(TAG_ROOT);
    writeTree(out, node.members);
    writeTree(out, node.others);
  } else {
    writeTree(out, node);
  }
  return out.finish();
}

/** Reads what `encodeNode` wrote. Throws on anything else. */
export function decodeNode(data: Uint8Array): StateNode {
  const input = new Reader(data);
  const tag = input.byte();
  if (tag === TAG_ROOT) return { members: readTree(input, input.byte()), others: readTree(input, input.byte()) };
  const node = readTree(input, tag);
  if (node === null) throw new Error("An empty node was stored");
  return node;
}

function numberOf(ref: Ref): number {
  if (typeof ref !== "number") throw new Error("A node without a number was used as a stored one");
  return ref;
}

function writeTree(out: Writer, node: TreeNode | null): void {
  if (node === null) {
    out.byte(TAG_EMPTY);
  } else if (isLeaf(node)) {
    out.byte(TAG_LEAF);
    out.varint(node.keys.length);
    let last = 0;
    for (const key of node.keys) {
      out.varint(key - last);
      last = key;
    }
    out.packed(node.values);
  } else {
    out.byte(TAG_INNER);
    out.fixed(node.bitmap >>> 0, 4);
    out.varint(node.count);
    out.packed(node.children.map(numberOf));
  }
}

function readTree(input: Reader, tag: number): TreeNode | null {
  if (tag === TAG_EMPTY) return null;
  if (tag === TAG_LEAF) {
    const length = input.varint();
    const keys: number[] = [];
    let last = 0;
    for (let index = 0; index < length; index++) keys.push(last += input.varint());
    return { keys, values: input.packed(length) };
  }
  if (tag !== TAG_INNER) throw new Error(`Unknown state node ${tag}`);
  const bitmap = input.fixed(4);
  const count = input.varint();
  return { bitmap: bitmap | 0, count, children: input.packed(countBits(bitmap | 0)) };
}

/** Returns how many bits of a 32-bit number are set. */
export function countBits(bits: number): number {
  let n = bits - ((bits >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return Math.imul((n + (n >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

class Writer {
  #bytes = new Uint8Array(256);
  #length = 0;

  byte(value: number): void {
    if (this.#length === this.#bytes.length) {
      const larger = new Uint8Array(this.#bytes.length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes[this.#length++] = value;
  }

  /** Works on numbers, not on 32-bit integers: ids may take 53 bits. */
  varint(value: number): void {
    let rest = value;
    while (rest >= 128) {
      this.byte(rest % 128 + 128);
      rest = Math.floor(rest / 128);
    }
    this.byte(rest);
  }

  fixed(value: number, width: number): void {
    let rest = value;
    for (let index = 0; index < width; index++) {
      this.byte(rest % 256);
      rest = Math.floor(rest / 256);
    }
  }

  packed(values: readonly number[]): void {
    let least = Infinity;
    let most = 0;
    for (const value of values) {
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
    const width = bytesFor(most - least);
    this.varint(least);
    this.byte(width);
    for (const value of values) this.fixed(value - least, width);
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  byte(): number {
    const value = this.#bytes[this.#at++];
    if (value === undefined) throw new Error("A state node is cut short");
    return value;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1;; scale *= 128) {
      const byte = this.byte();
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
  }

  fixed(width: number): number {
    let value = 0;
    let scale = 1;
    for (let index = 0; index < width; index++) {
      value += this.byte() * scale;
      scale *= 256;
    }
    return value;
  }

  packed(length: number): number[] {
    const least = this.varint();
    const width = this.byte();
    const values: number[] = [];
    for (let index = 0; index < length; index++) values.push(least + this.fixed(width));
    return values;
  }
}

function bytesFor(value: number): number {
  let width = 0;
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) width++;
  return width;
}
