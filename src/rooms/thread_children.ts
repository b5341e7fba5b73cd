/** Parents and children of events, and what is told of them in `unsigned`. Spec: MSC2836, "Exploring dense threads". */
import type { RoomEvent } from "../protocol/event.ts";
import { sha256Base64 } from "../protocol/hashes.ts";
import { isStorable, MAX_ID_BYTES } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import type { ChildRow, ToldRow } from "../storage/event_parents.ts";

const MAX_REL_TYPE_BYTES = 255;
const MAX_REL_TYPES = 20;
const MAX_HASH_BYTES = 100;

/** What is told of an event's children. */
export type Children = Pick<ToldRow, "counts" | "hash">;

/** Returns the parent that an event names, or null. An event is no parent of its own. */
export function parentOf({ content, eventId }: RoomEvent): { parentId: string; relType: string } | null {
  const relationship = content["m.relationship"];
  if (!isJsonObject(relationship)) return null;
  const { rel_type: relType, event_id: parentId } = relationship;
  if (typeof relType !== "string" || !isStorable(relType, MAX_REL_TYPE_BYTES)) return null;
  if (typeof parentId !== "string" || !isStorable(parentId, MAX_ID_BYTES) || parentId === eventId) return null;
  return { parentId, relType };
}

/** Sums children up. */
export function sumUp(rows: readonly ChildRow[]): Children {
  const counts = new Map<string, number>();
  for (const { relType } of rows) counts.set(relType, (counts.get(relType) ?? 0) + 1);
  const ids = rows.map(({ eventId }) => eventId as string).sort((a, b) => a < b ? -1 : 1);
  return { counts: Object.fromEntries(counts), hash: sha256Base64(ids.join("")) };
}

/** Reads what another server tells in `unsigned`; null where that is nothing or no sense. */
export function toldIn(unsigned: JsonObject): Children | null {
  const { children, children_hash: hash } = unsigned;
  if (!isJsonObject(children) || typeof hash !== "string" || !isStorable(hash, MAX_HASH_BYTES)) return null;
  const counts = Object.entries(children).map(([relType, count]) => [relType, Number(count)] as const);
  const isSane = counts.length <= MAX_REL_TYPES &&
    counts.every(([relType, count]) =>
      isStorable(relType, MAX_REL_TYPE_BYTES) && Number.isSafeInteger(count) && count >= 0
    );
  return isSane ? { counts: Object.fromEntries(counts), hash } : null;
}

/** Returns how many children are meant. */
export function totalOf({ counts }: Children): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** Returns the members of `unsigned` that tell of children, as text. */
export function unsignedText({ counts, hash }: Children): string {
  return `"children":${JSON.stringify(counts)},"children_hash":${JSON.stringify(hash)}`;
}
