/** Relations that a local user may not make. Spec: client-server API, "Event annotations and reactions", "Threading". */
import { badJson, MatrixError } from "../protocol/errors.ts";
import type { EventId } from "../protocol/ids.ts";
import { isJsonObject } from "../protocol/json.ts";
import type { Db } from "../storage/database.ts";
import { hasAnnotation } from "../storage/relations.ts";
import type { RoomBatch } from "./batch.ts";
import type { EventTemplate } from "./build.ts";
import { relationOf } from "./relation.ts";

/**
 * Throws when an event relates to one of another room, repeats an annotation or has none to make, or starts a thread from an event that is
 * itself related to another. Relations to events that are not known here are let through.
 */
export async function assertRelationAllowed(
  { db }: { readonly db: Db },
  { batch, template }: { batch: RoomBatch; template: EventTemplate },
): Promise<void> {
  if (template.stateKey !== null || template.content["m.relates_to"] === undefined) return;
  const relation = relationOf(template);
  if (relation === null) return;
  const { relatesToId, relType, aggregationKey } = relation;
  const target = (await batch.byId([relatesToId as EventId])).get(relatesToId as EventId);
  if (target !== undefined && target.roomNid !== batch.room.roomNid) {
    throw new MatrixError(400, "M_UNKNOWN", "Relations must be in the same room");
  }
  if (relType === "m.thread" && target !== undefined && hasRelation(target.event.content["m.relates_to"])) {
    throw new MatrixError(400, "M_UNKNOWN", "Cannot start threads from an event with a relation");
  }
  if (relType !== "m.annotation") return;
  if (aggregationKey === null) throw badJson('An annotation needs a "key"');
  const { sender, type } = template;
  const isPending = batch.pending.some(({ stored: { event } }) => {
    if (event.sender !== sender || event.type !== type) return false;
    const other = relationOf(event);
    return other?.relatesToId === relatesToId && other.relType === relType && other.aggregationKey === aggregationKey;
  });
  if (isPending || await hasAnnotation(db, { targetId: relatesToId, sender, type, key: aggregationKey })) {
    throw new MatrixError(400, "M_DUPLICATE_ANNOTATION", "Can't send same reaction twice");
  }
}

function hasRelation(relates: unknown): boolean {
  return isJsonObject(relates) && typeof relates.rel_type === "string";
}
