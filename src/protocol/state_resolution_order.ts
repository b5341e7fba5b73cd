/**
 * The two orderings of state resolution v2 and v2.1. Spec: "Room version 2", "State resolution", "Definitions".
 */
import { compareCodePoints } from "./canonical_json.ts";
import type { RoomEvent } from "./event.ts";
import type { EventId } from "./ids.ts";
import { getUserLevel } from "./power_levels.ts";
import type { EventPool } from "./state_resolution_events.ts";

const POWER_LEVELS = { type: "m.room.power_levels", stateKey: "" };

interface Vertex {
  readonly event: RoomEvent;
  /** Of the sender, by the event's own auth events. */
  readonly level: number;
  /** Auth events of this one that are to be sorted and have not come out yet. */
  pending: number;
  readonly dependents: Vertex[];
}

/**
 * Sorts by the reverse topological power ordering: auth events first, and among those that may come next the one with
 * the most powerful sender, then the oldest, then the smallest id. The auth events must have been loaded.
 */
export async function sortByPower(
  events: readonly RoomEvent[],
  { pool, create }: { pool: EventPool; create: RoomEvent },
): Promise<RoomEvent[]> {
  const vertices = new Map<EventId, Vertex>();
  for (const event of events) {
    const powerLevels = pool.findAuthEvent(event, POWER_LEVELS);
    const level = getUserLevel({ create, powerLevels }, event.sender);
    vertices.set(event.eventId, { event, level, pending: 0, dependents: [] });
  }
  for (const vertex of vertices.values()) {
    for (const id of new Set(vertex.event.authEvents)) {
      const auth = vertices.get(id);
      if (auth === undefined) continue;
      auth.dependents.push(vertex);
      vertex.pending++;
    }
  }
  const ready = new VertexHeap();
  for (const vertex of vertices.values()) {
    if (vertex.pending === 0) ready.push(vertex);
  }
  const sorted: RoomEvent[] = [];
  for (let vertex = ready.pop(); vertex !== undefined; vertex = ready.pop()) {
    sorted.push(vertex.event);
    for (const dependent of vertex.dependents) {
      if (--dependent.pending === 0) ready.push(dependent);
    }
    await pool.step();
  }
  return sorted;
}

function compareVertices(a: Vertex, b: Vertex): number {
  // The levels may be infinite, so they are not subtracted.
  if (a.level !== b.level) return a.level > b.level ? -1 : 1;
  return compareByTime(a.event, b.event);
}

function compareByTime(a: RoomEvent, b: RoomEvent): number {
  return a.originServerTs - b.originServerTs || compareCodePoints(a.eventId, b.eventId);
}

/** A binary heap with the smallest vertex on top. */
class VertexHeap {
  readonly #items: Vertex[] = [];

  push(vertex: Vertex): void {
    const items = this.#items;
    let index = items.length;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = items[above];
      if (parent === undefined || compareVertices(parent, vertex) <= 0) break;
      items[index] = parent;
      index = above;
    }
    items[index] = vertex;
  }

  pop(): Vertex | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return top;
    let index = 0;
    while (true) {
      const child = this.#smallerChild(index);
      const item = items[child];
      if (item === undefined || compareVertices(last, item) <= 0) break;
      items[index] = item;
      index = child;
    }
    items[index] = last;
    return top;
  }

  #smallerChild(index: number): number {
    const left = 2 * index + 1;
    const a = this.#items[left];
    const b = this.#items[left + 1];
    return a !== undefined && b !== undefined && compareVertices(b, a) < 0 ? left + 1 : left;
  }
}

/**
 * Sorts by the mainline ordering based on `powerLevels`: by how early in the history of the power levels an event's auth
 * chain meets it, then by age, then by id. The auth events must have been loaded.
 */
export async function sortByMainline(
  events: readonly RoomEvent[],
  { pool, powerLevels }: { pool: EventPool; powerLevels: RoomEvent | undefined },
): Promise<RoomEvent[]> {
  const positions = await readMainline(pool, powerLevels);
  const entries: { event: RoomEvent; position: number }[] = [];
  for (const event of events) {
    entries.push({ event, position: await findMainlinePosition(event, { pool, positions }) });
    await pool.step();
  }
  entries.sort((a, b) => {
    if (a.position !== b.position) return a.position > b.position ? -1 : 1;
    return compareByTime(a.event, b.event);
  });
  return entries.map(({ event }) => event);
}

async function readMainline(pool: EventPool, powerLevels: RoomEvent | undefined): Promise<Map<EventId, number>> {
  const positions = new Map<EventId, number>();
  // Ids of versions 1 and 2 are made by servers, so a malicious one could close a circle.
  for (let event = powerLevels; event !== undefined && !positions.has(event.eventId);) {
    positions.set(event.eventId, positions.size);
    event = await previousPowerLevels(pool, event);
    await pool.step();
  }
  return positions;
}

/** Positions of power levels off the mainline are added to `positions` as they are found. */
async function findMainlinePosition(
  event: RoomEvent,
  { pool, positions }: { pool: EventPool; positions: Map<EventId, number> },
): Promise<number> {
  const passed = new Set<EventId>();
  let position = Infinity;
  let current = await previousPowerLevels(pool, event);
  while (current !== undefined && !passed.has(current.eventId)) {
    const known = positions.get(current.eventId);
    if (known !== undefined) {
      position = known;
      break;
    }
    passed.add(current.eventId);
    current = await previousPowerLevels(pool, current);
    await pool.step();
  }
  for (const id of passed) positions.set(id, position);
  return position;
}

async function previousPowerLevels(pool: EventPool, event: RoomEvent): Promise<RoomEvent | undefined> {
  await pool.load(event.authEvents);
  return pool.findAuthEvent(event, POWER_LEVELS);
}
