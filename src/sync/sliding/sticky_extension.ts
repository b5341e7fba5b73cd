/** The extension for sticky events (MSC4354, MSC4480): those of the user's rooms that no timeline shows. */
import type { EventRenderer } from "../../rooms/renderer.ts";
import type { StickyEvents } from "../../rooms/sticky_events.ts";
import type { StoredEvent } from "../../rooms/types.ts";
import type { RoomResult } from "./room_result.ts";
import type { SlidingView } from "./view.ts";

/** What it is read from. */
export interface StickyExtensionDeps {
  readonly stickyEvents: StickyEvents;
  readonly renderer: EventRenderer;
}

interface Query {
  readonly view: SlidingView;
  readonly rooms: { readonly results: ReadonlyMap<number, RoomResult> };
}

const NAME = "org.matrix.msc4354.sticky_events";

/** Returns the extension of a response; null when there is nothing to tell. */
export async function readStickyEvents(
  deps: StickyExtensionDeps,
  query: Query,
): Promise<{ name: string; text: string; isNews: boolean } | null> {
  const { view } = query;
  const asked = view.request.extensions.stickyEvents;
  if (asked === null) return null;
  const after = Math.min(asked.since ?? 0, view.now.events);
  const found = await findSticky(deps, { ...query, after, limit: asked.limit });
  if (found.events.length === 0 && found.upTo === after) return null;
  const shown = shownIn(query);
  const byRoom = new Map<string, string[]>();
  const events = found.events.filter(({ event }) => !shown.has(event.eventId));
  if (events.length === 0) return null;
  const texts = await deps.renderer.render(events, {
    requester: view.request.requester,
    roomId: false,
    previous: true,
  });
  events.forEach(({ event }, index) => {
    const list = byRoom.get(event.roomId) ?? [];
    byRoom.set(event.roomId, [...list, texts[index] ?? ""]);
  });
  const rooms = [...byRoom].map(([roomId, list]) => `${JSON.stringify(roomId)}:{"events":[${list.join(",")}]}`);
  // A client that keeps no token is told all there is each time, but is not woken by what it has been told.
  const known = asked.since === null ? view.since?.events ?? 0 : after;
  return {
    name: NAME,
    text: `{"next_batch":"${found.upTo}","rooms":{${rooms.join(",")}}}`,
    isNews: events.some(({ position, roomNid }) => (position ?? 0) > known || joinedAfter(view, { roomNid, known })),
  };
}

/** Returns the events to tell of, and the position up to which they reach. */
async function findSticky(
  { stickyEvents }: StickyExtensionDeps,
  { view, after, limit }: Query & { after: number; limit: number },
): Promise<{ events: StoredEvent[]; upTo: number }> {
  const { now, ignored, rooms: { joined } } = view;
  const fresh: StoredEvent[] = [];
  const later: StoredEvent[] = [];
  for (const [roomNid, { position }] of await stickyEvents.rooms()) {
    if (!joined.has(roomNid)) continue;
    // Whoever joined meanwhile is told of all there is in the room, and that is not counted.
    if (joinedAfter(view, { roomNid, known: after })) {
      fresh.push(...await stickyEvents.inRoom({ roomNid, after: 0, upTo: now.events, ignored }));
    } else if (position > after) {
      later.push(...await stickyEvents.inRoom({ roomNid, after, upTo: now.events, ignored }));
    }
  }
  later.sort((a, b) => (a.position ?? 0) - (b.position ?? 0));
  const taken = later.slice(0, limit);
  const upTo = later.length > limit ? taken[taken.length - 1]?.position ?? after : now.events;
  return { events: [...fresh, ...taken], upTo };
}

function joinedAfter({ rooms }: SlidingView, { roomNid, known }: { roomNid: number; known: number }): boolean {
  return (rooms.all.get(roomNid)?.position ?? 0) > known;
}

function shownIn({ rooms: { results } }: Query): Set<string> {
  const shown = new Set<string>();
  for (const { text, eventIds } of results.values()) {
    if (text !== null) { for (const eventId of eventIds) shown.add(eventId); }
  }
  return shown;
}
