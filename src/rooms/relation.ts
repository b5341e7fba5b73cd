/** What an event relates to. Spec: client-server API, "Forwarding and relating". */
import type { RoomEvent } from "../protocol/event.ts";
import { isStorable, MAX_ID_BYTES } from "../protocol/ids.ts";
import { isJsonObject } from "../protocol/json.ts";

const MAX_REL_TYPE_BYTES = 255;
const MAX_KEY_BYTES = 1024;

/** A relation as it is stored. */
export interface Relation {
  readonly relatesToId: string;
  readonly relType: string;
  /** The `key` of annotations. */
  readonly aggregationKey: string | null;
}

/** Returns the relation in `m.relates_to`, or null where there is none that can be aggregated. */
export function relationOf({ content, stateKey }: Pick<RoomEvent, "content" | "stateKey">): Relation | null {
  const relates = content["m.relates_to"];
  if (!isJsonObject(relates) || stateKey !== null) return null;
  const { rel_type: relType, event_id: relatesToId, key } = relates;
  if (typeof relType !== "string" || !isStorable(relType, MAX_REL_TYPE_BYTES)) return null;
  if (typeof relatesToId !== "string" || !isStorable(relatesToId, MAX_ID_BYTES)) return null;
  const aggregationKey = typeof key === "string" && isStorable(key, MAX_KEY_BYTES) ? key : null;
  return { relatesToId, relType, aggregationKey };
}
