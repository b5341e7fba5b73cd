/**
 * Removing state nodes that nothing refers to any more, after events of a room were deleted.
 *
 * List, mark and sweep, in steps that each read or write a bounded number of rows. Nodes that come while it runs are
 * not on the list and so are kept, whatever their ids. A listed node that is not in use cannot come into use again:
 * new states are made from states that events refer to. Whoever keeps roots in memory that no event refers to (a cache
 * of resolved states) must drop those of the room first.
 */
import type { Database } from "./database.ts";
import { inList, numberTable, sql } from "./sql.ts";
import { childIds, decodeNode } from "./state_node.ts";

const DEFAULT_STEP_ROWS = 1000;

/** One sweep of one room. Call `step` until it returns true. */
export class StateSweep {
  readonly #db: Database;
  readonly #roomNid: number;
  readonly #stepRows: number;
  readonly #marked = new Set<number>();
  #open: number[] = [];
  #listed: number[] = [];
  #phase: "list" | "roots" | "mark" | "sweep" | "done" = "list";
  #cursor = 0;
  /** Nodes removed so far. */
  removed = 0;

  constructor({ db, roomNid, stepRows = DEFAULT_STEP_ROWS }: { db: Database; roomNid: number; stepRows?: number }) {
    this.#db = db;
    this.#roomNid = roomNid;
    this.#stepRows = stepRows;
  }

  /** Does a bounded part of the work; returns true when all is done. */
  async step(): Promise<boolean> {
    switch (this.#phase) {
      case "list":
        await this.#list();
        break;
      case "roots":
        await this.#readRoots();
        break;
      case "mark":
        await this.#mark();
        break;
      case "sweep":
        await this.#sweep();
        break;
      case "done":
    }
    return this.#phase === "done";
  }

  async #list(): Promise<void> {
    const rows = await this.#db.all<{ node_id: number }>(sql`
      SELECT node_id FROM state_nodes WHERE room_nid = ${this.#roomNid} AND node_id > ${this.#cursor}
      ORDER BY node_id LIMIT ${this.#stepRows}`);
    for (const { node_id } of rows) {
      this.#cursor = node_id;
      this.#listed.push(node_id);
    }
    if (rows.length === this.#stepRows) return;
    this.#cursor = 0;
    this.#phase = "roots";
  }

  async #readRoots(): Promise<void> {
    const rows = await this.#db.all<{ event_nid: number; state_before: number | null; state_after: number | null }>(sql`
      SELECT event_nid, state_before, state_after FROM events
      WHERE room_nid = ${this.#roomNid} AND event_nid > ${this.#cursor}
      ORDER BY event_nid LIMIT ${this.#stepRows}`);
    for (const { event_nid, state_before, state_after } of rows) {
      this.#cursor = event_nid;
      this.#add([state_before ?? 0, state_after ?? 0]);
    }
    if (rows.length === this.#stepRows) return;
    const room = await this.#db.get<{ state_root: number }>(
      sql`SELECT state_root FROM rooms WHERE room_nid = ${this.#roomNid}`,
    );
    this.#add([room?.state_root ?? 0]);
    this.#phase = "mark";
  }

  async #mark(): Promise<void> {
    const batch = this.#open.splice(-this.#stepRows);
    const rows = await this.#db.all<{ data: Uint8Array }>(sql`
      SELECT n.data FROM ${numberTable(batch)} AS wanted JOIN state_nodes n ON n.node_id = wanted.value`);
    for (const { data } of rows) this.#add(childIds(decodeNode(data)));
    if (this.#open.length === 0) this.#phase = "sweep";
  }

  async #sweep(): Promise<void> {
    const unused = this.#listed.splice(-this.#stepRows).filter((nodeId) => !this.#marked.has(nodeId));
    if (unused.length > 0) {
      this.removed += await this.#db.transaction((tx) =>
        tx.run(sql`DELETE FROM state_nodes WHERE ${inList(sql`node_id`, unused)}`)
      );
    }
    if (this.#listed.length === 0) this.#phase = "done";
  }

  #add(ids: readonly number[]): void {
    for (const id of ids) {
      if (id === 0 || this.#marked.has(id)) continue;
      this.#marked.add(id);
      this.#open.push(id);
    }
  }
}
