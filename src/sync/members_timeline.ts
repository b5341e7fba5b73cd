/** Timelines that are the same for all who were in the room all the while. */
import type { EventFilter } from "../protocol/filter.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { Visibility, VisibleEvent } from "../rooms/visibility.ts";
import { readTimeline, type Timeline, type TimelineDeps } from "./timelines.ts";
import type { RoomPart } from "./types.ts";

/** What these timelines are read with. */
export interface MembersTimelineDeps extends Omit<TimelineDeps, "visibility"> {
  readonly visibility: Visibility;
}

/**
 * Reads a timeline as anybody sees it who is joined at each of its events; null where that is not all there is to it, or
 * where an event is not `isAlike`.
 */
export async function readForMembers(
  deps: MembersTimelineDeps,
  { part, filter, isAlike = () => true }: {
    part: RoomPart;
    filter: EventFilter;
    isAlike?: (stored: StoredEvent) => boolean;
  },
): Promise<Timeline | null> {
  let areAlike = true;
  const isShown = (stored: StoredEvent) => isPlain(stored) && isAlike(stored) && !deps.visibility.isExpired(stored);
  const shared = (events: readonly StoredEvent[]): Promise<VisibleEvent[]> => {
    if (!events.every(isShown)) areAlike = false;
    return Promise.resolve(events.map((stored) => ({ stored, membership: "join" as const })));
  };
  const viewer = { userId: null, isMember: true, upTo: null, ignored: new Set<string>() };
  const timeline = await readTimeline({ ...deps, visibility: { filter: shared } }, { part, filter, viewer });
  return areAlike && timeline.isWhole ? timeline : null;
}

/** Whether a redaction is shown may change. */
function isPlain({ event, isRejected, isSoftFailed, isOutlier, position, stateBefore }: StoredEvent): boolean {
  return !isRejected && !isSoftFailed && !isOutlier && position !== null && stateBefore !== null &&
    event.type !== "m.room.redaction";
}
