/** The answer of a search: results with what surrounds them, groups and state. */
import { stateKeyOf } from "../protocol/event.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import { membershipsOf, type Page, type Pagination, tokenAfter, tokenBefore } from "../rooms/pagination.ts";
import type { Bundler } from "../rooms/pagination.ts";
import type { EventRenderer } from "../rooms/renderer.ts";
import type { Reading, RoomReaders } from "../rooms/room_access.ts";
import type { StateReader } from "../rooms/state_reader.ts";
import type { Requester, StoredEvent } from "../rooms/types.ts";
import type { VisibleEvent } from "../rooms/visibility.ts";
import { formatRoomToken } from "../streams/tokens.ts";
import { type ContextWish, formatSearchPlace, type GroupKey, type SearchCriteria } from "./search_criteria.ts";

/** What answers are made with. */
export interface SearchPages {
  readonly state: StateReader;
  readonly readers: RoomReaders;
  readonly renderer: EventRenderer;
  readonly pagination: Pagination;
  readonly bundle: Bundler;
}

/** A result. */
export interface FoundEvent {
  readonly event: VisibleEvent;
  readonly rank: number;
  readonly reading: Reading;
}

/** All that the answer says. */
export interface SearchOutcome {
  readonly requester: Requester;
  readonly criteria: SearchCriteria;
  readonly highlights: readonly string[];
  readonly count: number;
  readonly found: readonly FoundEvent[];
  readonly next: string | null;
}

/** Returns the response body, as text. */
export async function searchText(pages: SearchPages, outcome: SearchOutcome): Promise<string> {
  const { requester, criteria, found, next } = outcome;
  const texts = await render(pages, { requester, events: found.map(({ event }) => event) });
  const results: string[] = [];
  for (const [index, result] of found.entries()) {
    const context = criteria.context === null ? "" : `,"context":${await contextText(pages, result, criteria.context)}`;
    results.push(`{"rank":${result.rank},"result":${texts[index]}${context}}`);
  }
  let text = `{"count":${outcome.count},"highlights":${JSON.stringify(outcome.highlights)},` +
    `"results":[${results.join(",")}]`;
  if (criteria.includeState) text += `,"state":${await stateText(pages, outcome)}`;
  if (criteria.groupBy.length > 0) text += `,"groups":${groupsText(outcome)}`;
  if (next !== null) text += `,"next_batch":${JSON.stringify(next)}`;
  return `{"search_categories":{"room_events":${text}}}}`;
}

async function render(
  { renderer, bundle }: SearchPages,
  { requester, events }: { requester: Requester; events: readonly VisibleEvent[] },
): Promise<string[]> {
  const stored = events.map((event) => event.stored);
  return await renderer.render(stored, {
    requester,
    roomId: true,
    previous: true,
    memberships: membershipsOf(events),
    relations: await bundle(stored, requester.userId),
  });
}

// deno-lint-ignore synapse-ts/max-positional -- the parts, the result, the wish
async function contextText(pages: SearchPages, { event, reading }: FoundEvent, wish: ContextWish): Promise<string> {
  const { pagination, readers } = pages;
  const { stored } = event;
  const place = { depth: stored.event.depth, position: stored.position ?? 0 };
  const viewer = readers.viewer(reading);
  const page = (direction: "b" | "f", limit: number): Promise<Page> =>
    pagination.page(reading.access, {
      viewer,
      request: {
        direction,
        from: direction === "b" ? tokenBefore(place) : tokenAfter(place),
        to: null,
        limit,
        filter: null,
      },
    });
  const [earlier, later] = await Promise.all([page("b", wish.before), page("f", wish.after)]);
  const requester = { ...reading.requester };
  const [before, after] = await Promise.all(
    [earlier, later].map(({ events }) => render(pages, { requester: requester as Requester, events })),
  );
  const start = formatRoomToken(earlier.end ?? tokenBefore(placeOf(earlier.events.at(-1)?.stored ?? stored)));
  const end = formatRoomToken(later.end ?? tokenAfter(placeOf(later.events.at(-1)?.stored ?? stored)));
  let text = `{"start":"${start}","end":"${end}","events_before":[${before?.join(",")}],` +
    `"events_after":[${after?.join(",")}]`;
  if (wish.profiles) {
    const shown = [...earlier.events, event, ...later.events].map(({ stored }) => stored);
    text += `,"profile_info":${await profilesText(pages, { at: later.events.at(-1)?.stored ?? stored, shown })}`;
  }
  return `${text}}`;
}

function placeOf({ event, position }: StoredEvent): { depth: number; position: number } {
  return { depth: event.depth, position: position ?? 0 };
}

async function profilesText(
  { state }: SearchPages,
  { at, shown }: { at: StoredEvent; shown: readonly StoredEvent[] },
): Promise<string> {
  const senders = new Set(shown.map(({ event }) => event.sender));
  const members = await state.getMany(
    at.stateAfter ?? 0,
    [...senders].map((sender) => stateKeyOf("m.room.member", sender)),
  );
  const profiles: Record<UserId, { displayname?: string; avatar_url?: string }> = {};
  for (const { event: { stateKey, content } } of members.values()) {
    const { displayname, avatar_url } = content;
    profiles[stateKey as UserId] = {
      ...(typeof displayname === "string" ? { displayname } : {}),
      ...(typeof avatar_url === "string" ? { avatar_url } : {}),
    };
  }
  return JSON.stringify(profiles);
}

async function stateText({ state, renderer }: SearchPages, { requester, found }: SearchOutcome): Promise<string> {
  const rooms = new Map<RoomId, Reading>();
  for (const { reading } of found) rooms.set(reading.access.room.roomId, reading);
  const parts: string[] = [];
  for (const [roomId, { access }] of rooms) {
    const events = await state.entries(access.root);
    const texts = await renderer.render(events, { requester, roomId: true, previous: false });
    parts.push(`${JSON.stringify(roomId)}:[${texts.join(",")}]`);
  }
  return `{${parts.join(",")}}`;
}

function groupsText({ criteria, found, next }: SearchOutcome): string {
  const groups = criteria.groupBy.map((key) => {
    const members = new Map<string, FoundEvent[]>();
    for (const result of found) {
      const value = groupOf(result, key);
      const group = members.get(value);
      if (group === undefined) members.set(value, [result]);
      else group.push(result);
    }
    const entries = [...members].map(([value, results], index) => {
      const last = results.at(-1)?.event.stored.position ?? 0;
      const goesOn = next !== null && criteria.orderBy === "recent";
      return [value, {
        results: results.map(({ event }) => event.stored.event.eventId),
        order: index + 1,
        ...(goesOn ? { next_batch: formatSearchPlace({ before: last, group: { key, value } }) } : {}),
      }];
    });
    return [key, Object.fromEntries(entries)];
  });
  return JSON.stringify(Object.fromEntries(groups));
}

function groupOf({ event: { stored } }: FoundEvent, key: GroupKey): string {
  return key === "room_id" ? stored.event.roomId : stored.event.sender;
}
