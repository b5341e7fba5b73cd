/** Walking threads of any depth. Spec: MSC2836, "Querying relationships". */
import type { StoredEvent } from "./types.ts";

/** How a thread is walked. Negative bounds are none. */
export interface WalkOptions {
  readonly maxDepth: number;
  readonly maxBreadth: number;
  readonly depthFirst: boolean;
  readonly recentFirst: boolean;
  readonly includeParent: boolean;
  readonly includeChildren: boolean;
  readonly direction: "up" | "down";
}

/** What a walk reads; gives only what the reader may see. */
export interface ThreadSource {
  /** Returns the event that another one names as its parent, or null. */
  parent(stored: StoredEvent): Promise<StoredEvent | null>;
  /** Returns the children of an event, the oldest first. */
  children(stored: StoredEvent): Promise<StoredEvent[]>;
}

/** How many events one walk looks at. */
export const MAX_VISITED = 1_000;

/** Gives the events of a thread around `anchor`, each once. Ends after `MAX_VISITED` of them. */
export async function* walkThread(
  source: ThreadSource,
  { anchor, options }: { anchor: StoredEvent; options: WalkOptions },
): AsyncGenerator<StoredEvent> {
  const given = new Set<number>();
  const isNew = ({ nid }: StoredEvent) => !given.has(nid) && given.size < MAX_VISITED && given.add(nid) !== undefined;
  for (const stored of await startOf(source, { anchor, options })) if (isNew(stored)) yield stored;
  const visited = new Set<number>([anchor.nid]);
  let open = await stepsFrom(source, { stored: anchor, depth: 1, options });
  while (given.size < MAX_VISITED) {
    const [step, ...rest] = open;
    if (step === undefined) return;
    open = rest;
    const { stored } = step;
    if (visited.has(stored.nid)) continue;
    visited.add(stored.nid);
    if (isNew(stored)) yield stored;
    const further = await stepsFrom(source, { stored, depth: step.depth + 1, options });
    open = options.depthFirst ? [...further, ...open] : [...open, ...further];
  }
}

/** Returns what comes before the walk itself. */
async function startOf(
  source: ThreadSource,
  { anchor, options }: { anchor: StoredEvent; options: WalkOptions },
): Promise<StoredEvent[]> {
  const start = [anchor];
  const parent = options.includeParent ? await source.parent(anchor) : null;
  if (parent !== null) start.push(parent);
  if (options.includeChildren) start.push(...inOrder(await source.children(anchor), options));
  return start;
}

async function stepsFrom(
  source: ThreadSource,
  { stored, depth, options }: { stored: StoredEvent; depth: number; options: WalkOptions },
): Promise<{ stored: StoredEvent; depth: number }[]> {
  if (options.maxDepth >= 0 && depth > options.maxDepth) return [];
  if (options.direction === "up") {
    const parent = await source.parent(stored);
    return parent === null ? [] : [{ stored: parent, depth }];
  }
  const children = inOrder(await source.children(stored), options);
  const shown = options.maxBreadth < 0 ? children : children.slice(0, options.maxBreadth);
  return shown.map((child) => ({ stored: child, depth }));
}

function inOrder(children: readonly StoredEvent[], { recentFirst }: WalkOptions): StoredEvent[] {
  return recentFirst ? [...children].reverse() : [...children];
}
