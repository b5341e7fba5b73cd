/** The events of a timeline as a client gets them, with what was aggregated of them. */
import type { UserId } from "../protocol/ids.ts";
import { type Bundler, membershipsOf } from "../rooms/pagination.ts";
import type { EventRenderer, RenderView } from "../rooms/renderer.ts";
import type { RoomEnd, SharedEnds } from "./shared_ends.ts";
import type { Timeline } from "./timelines.ts";

/** What the texts are made with. */
export interface TimelineTextsDeps {
  readonly renderer: EventRenderer;
  readonly ends: SharedEnds;
  readonly bundle?: Bundler;
}

/** Returns the text of each event of a timeline, which may be that of `end`, as one reader sees it. */
export async function timelineTexts(
  { renderer, ends, bundle }: TimelineTextsDeps,
  { timeline, end, userId, view }: { timeline: Timeline; end: RoomEnd | null; userId: UserId; view: RenderView },
): Promise<string[]> {
  const shown = timeline.events.map(({ stored }) => stored);
  const relations = timeline.limited ? await bundle?.(shown, userId) : undefined;
  const asked = { ...view, memberships: membershipsOf(timeline.events) };
  if (end !== null && (relations?.size ?? 0) === 0) return await ends.texts(end.shown, asked);
  return await renderer.render(shown, { ...asked, ...(relations && { relations }) });
}
