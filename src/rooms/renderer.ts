/**
 * Events as clients get them: JSON text. Spec: client-server API, "Room event format".
 *
 * The text of an event is built once and kept; what depends on the reader (`room_id`, `unsigned`) is spliced in when it
 * is used, so that a sync of thousands of events parses and stringifies nothing. Nothing that is kept holds the stored
 * event, which would stay in memory when its own cache has dropped it. Kept text is a string of one piece, for the pieces
 * that it was joined from would take more than it.
 */
import type { Clock } from "../lib/clock.ts";
import { LruCache } from "../lib/lru.ts";
import { nextTurn } from "../lib/turn.ts";
import { pickFields } from "../protocol/filter.ts";
import type { JsonObject } from "../protocol/json.ts";
import { redactContent, redactPdu } from "../protocol/redaction.ts";
import { STICKY_KEY, stickyEndOf } from "../protocol/sticky.ts";
import type { EventStore } from "./event_store.ts";
import type { StateReader } from "./state_reader.ts";
import type { Sender, TransactionIds } from "./transaction_ids.ts";
import type { Membership, StoredEvent } from "./types.ts";

/** How a reader wants events. */
export interface RenderView {
  /** Whose request it is; null for a reader without a device. */
  readonly requester: Sender | null;
  /** Leave `room_id` out where the response already says it, as in sync. */
  readonly roomId: boolean;
  /** Add what the event replaced: for timelines. Lists of state leave it out. */
  readonly previous: boolean;
  /** `unsigned.membership` by event. */
  readonly memberships?: ReadonlyMap<number, Membership>;
  /** Bundled aggregations (the text of `unsigned.m.relations`) by event. */
  readonly relations?: ReadonlyMap<number, string>;
  /** Further members of `unsigned`, as text without braces, by event. */
  readonly unsigned?: ReadonlyMap<number, string>;
  readonly format?: "client" | "federation";
  /** Spec: `event_fields` of a filter. */
  readonly fields?: readonly (readonly string[])[] | null;
}

/** What the renderer is built from. */
export interface RendererDeps {
  readonly events: EventStore;
  readonly state: StateReader;
  readonly transactions: TransactionIds;
  readonly clock: Clock;
  readonly cacheBytes?: number;
}

/** An event's text without its age, which is the time since it was sent. */
export interface EventParts {
  readonly originServerTs: number;
  readonly beforeAge: string;
  readonly afterAge: string;
}

/** Returns the text of an event. */
export function joinParts({ originServerTs, beforeAge, afterAge }: EventParts, now: number): string {
  return `${beforeAge}${now - originServerTs}${afterAge}`;
}

interface Rendered {
  /** With what it was rendered: once a redaction or the completed state of a room changes these, it does not count. */
  readonly redactedByNid: number | null;
  readonly stateBefore: number | null;
  /** The event without the closing brace, `room_id` and `unsigned`. */
  readonly text: string;
  /** Members of `unsigned` that are the same for all, each with a comma before it; null until asked for. */
  previous: string | null;
  /** How many state events had been redacted when `previous` was made. */
  previousAt: number;
  readonly redaction: string;
  /** When it stops being sticky (milliseconds since the epoch); null if it never was. */
  readonly stickyEnd: number | null;
}

const DEFAULT_CACHE_BYTES = 8 * 1024 * 1024;
const ENTRY_OVERHEAD_BYTES = 200;
/** Rendering this many takes a few milliseconds. */
const EVENTS_A_TURN = 500;
/** Top-level keys of an event, beyond the spec's, that clients know (sticky events, MSC4354). */
const EXTRA_KEYS = [STICKY_KEY] as const;

/** Renders events, keeping their text. */
export class EventRenderer {
  readonly #deps: RendererDeps;
  readonly #cache: LruCache<number, Rendered>;

  constructor(deps: RendererDeps) {
    this.#deps = deps;
    this.#cache = new LruCache({
      name: "rendered_events",
      maxBytes: deps.cacheBytes ?? DEFAULT_CACHE_BYTES,
      sizeOf: ({ text, redaction, previous }) =>
        ENTRY_OVERHEAD_BYTES + (text.length + redaction.length + (previous?.length ?? 0)) * 2,
    });
  }

  /** Makes the cache so many times as big as it is by default. */
  scaleCache(factor: number): void {
    this.#cache.resize((this.#deps.cacheBytes ?? DEFAULT_CACHE_BYTES) * factor);
  }

  /** Returns the text of each event, in order. */
  async render(events: readonly StoredEvent[], view: RenderView): Promise<string[]> {
    if (events.length === 0) return [];
    if (view.format === "federation") return this.#renderPdus(events, view);
    const transactions = view.requester === null ? null : await this.#deps.transactions.of(events, view.requester);
    const now = this.#deps.clock.now();
    const texts: string[] = [];
    for (const [index, stored] of events.entries()) {
      if (index > 0 && index % EVENTS_A_TURN === 0) await nextTurn();
      const rendered = this.#find(stored) ?? await this.#make(stored);
      if (view.previous) await this.#addPrevious(rendered, stored);
      texts.push(compose(rendered, { stored, view, now, txnId: transactions?.get(stored.nid) }));
    }
    return view.fields ? texts.map((text) => pickText(text, view.fields ?? [])) : texts;
  }

  /**
   * Returns each event as texts that are the same for all readers who did not send it, and at any time; null where one of
   * them is not. In the `client` format and with all fields.
   */
  async renderParts(
    events: readonly StoredEvent[],
    view: Pick<RenderView, "roomId" | "previous" | "memberships">,
  ): Promise<EventParts[] | null> {
    const parts: EventParts[] = [];
    for (const stored of events) {
      const rendered = this.#find(stored) ?? await this.#make(stored);
      if (rendered.stickyEnd !== null) return null;
      if (view.previous) await this.#addPrevious(rendered, stored);
      const after = afterAge(rendered, { stored, view: { ...view, requester: null }, now: 0, txnId: undefined });
      const { originServerTs } = stored.event;
      parts.push({ originServerTs, beforeAge: beforeAge(rendered, { stored, view }), afterAge: after });
    }
    return parts;
  }

  /** Returns the text of one event. */
  async renderOne(stored: StoredEvent, view: RenderView): Promise<string> {
    const [text] = await this.render([stored], view);
    return text ?? "null";
  }

  /** Returns the text of an event's content as it may be shown. */
  contentText(stored: StoredEvent): string {
    return JSON.stringify(shownContent(stored));
  }

  /** Returns the stripped form of a state event. Spec: "Stripped state". */
  strippedText({ event, redactedByNid }: StoredEvent): string {
    const content = redactedByNid === null ? event.content : redactContent(event, event.rules);
    return `{"content":${JSON.stringify(content)},"sender":${JSON.stringify(event.sender)},"state_key":${
      JSON.stringify(event.stateKey)
    },"type":${JSON.stringify(event.type)}}`;
  }

  /** As `strippedText`, with what makes a create event whole (MSC4311). */
  strippedCreateText(stored: StoredEvent): string {
    const { eventId, originServerTs } = stored.event;
    return `{"event_id":${JSON.stringify(eventId)},"origin_server_ts":${originServerTs},${
      this.strippedText(stored).slice(1)
    }`;
  }

  #find(stored: StoredEvent): Rendered | undefined {
    if (stored.isPruned === true) return undefined;
    const cached = this.#cache.get(stored.nid);
    if (cached?.redactedByNid !== stored.redactedByNid || cached.stateBefore !== stored.stateBefore) return undefined;
    return cached;
  }

  async #make(stored: StoredEvent): Promise<Rendered> {
    const redaction = await this.#redactedBecause(stored);
    const rendered: Rendered = {
      ...{ redactedByNid: stored.redactedByNid, stateBefore: stored.stateBefore },
      ...{ text: eventText(stored), previous: null, previousAt: 0, redaction },
      stickyEnd: stored.redactedByNid === null ? stickyEndOf(stored.event.pdu, stored.receivedTs) : null,
    };
    if (stored.isPruned !== true) this.#cache.set(stored.nid, rendered);
    return rendered;
  }

  async #redactedBecause({ redactedByNid }: StoredEvent): Promise<string> {
    if (redactedByNid === null) return "";
    const redaction = await this.#deps.events.getByNid(redactedByNid);
    if (redaction === null) return "";
    const id = JSON.stringify(redaction.event.eventId);
    const room = JSON.stringify(redaction.event.roomId);
    return [
      "",
      `"redacted_by":${id}`,
      `"redacted_because":${eventText(redaction)}`,
      `"room_id":${room}`,
      '"unsigned":{}}',
    ]
      .join(",");
  }

  async #addPrevious(rendered: Rendered, stored: StoredEvent): Promise<void> {
    if (stored.event.stateKey === null) return;
    const { redactedStates } = this.#deps.events;
    if (rendered.previous !== null && rendered.previousAt === redactedStates) return;
    rendered.previous = await this.#previous(stored);
    rendered.previousAt = redactedStates;
    // Its size counts too.
    if (stored.isPruned !== true) this.#cache.set(stored.nid, rendered);
  }

  async #previous({ event, stateBefore, isPruned }: StoredEvent): Promise<string> {
    if (event.stateKey === null || stateBefore === null) return "";
    const old = await this.#deps.state.get(stateBefore, event.type, event.stateKey);
    if (old === null) return "";
    const [id, sender] = [JSON.stringify(old.event.eventId), JSON.stringify(old.event.sender)];
    // What it replaced is not for those who may not see the event itself.
    if (isPruned === true) return `,"replaces_state":${id}`;
    const content = JSON.stringify(shownContent(old));
    return ["", `"replaces_state":${id}`, `"prev_content":${content}`, `"prev_sender":${sender}`].join(",");
  }

  #renderPdus(events: readonly StoredEvent[], { fields }: RenderView): string[] {
    return events.map((stored) => {
      const text = stored.redactedByNid === null
        ? stored.json
        : JSON.stringify(redactPdu(stored.event.pdu, stored.event.rules));
      return fields ? pickText(text, fields) : text;
    });
  }
}

function pickText(text: string, fields: readonly (readonly string[])[]): string {
  return JSON.stringify(pickFields(JSON.parse(text) as JsonObject, fields));
}

interface Composition {
  readonly stored: StoredEvent;
  readonly view: RenderView;
  readonly now: number;
  readonly txnId: string | undefined;
}

function compose(rendered: Rendered, composition: Composition): string {
  const age = composition.now - composition.stored.event.originServerTs;
  return `${beforeAge(rendered, composition)}${age}${afterAge(rendered, composition)}`;
}

function beforeAge(
  { text }: Rendered,
  { stored, view }: { stored: StoredEvent; view: Pick<RenderView, "roomId"> },
): string {
  const room = view.roomId ? `,"room_id":${JSON.stringify(stored.event.roomId)}` : "";
  return `${text}${room},"unsigned":{"age":`;
}

function afterAge(
  { previous, redaction, stickyEnd }: Rendered,
  { stored, view, now, txnId }: Composition,
): string {
  let unsigned = "";
  const membership = view.memberships?.get(stored.nid);
  if (membership !== undefined) unsigned += `,"membership":"${membership}"`;
  if (stickyEnd !== null && stickyEnd > now) unsigned += `,"msc4354_sticky_duration_ttl_ms":${stickyEnd - now}`;
  // Synapse's word, for administrators who asked for such events; nobody else gets them.
  if (stored.isSoftFailed) unsigned += ',"io.element.synapse.soft_failed":true';
  if (txnId !== undefined) unsigned += `,"transaction_id":${JSON.stringify(txnId)}`;
  if (view.previous && previous !== null) unsigned += previous;
  const relations = view.relations?.get(stored.nid);
  if (relations !== undefined) unsigned += `,"m.relations":${relations}`;
  const further = view.unsigned?.get(stored.nid);
  if (further !== undefined) unsigned += `,${further}`;
  return `${unsigned}${redaction}}}`;
}

function shownContent({ event, redactedByNid }: StoredEvent): Readonly<JsonObject> {
  return redactedByNid === null ? event.content : redactContent(event, event.rules);
}

/** Builds the part that all readers share; the closing brace is for the caller. */
function eventText(stored: StoredEvent): string {
  const { event } = stored;
  const redacted = stored.redactedByNid !== null;
  const content = shownContent(stored);
  const redacts = redacted && content.redacts === undefined ? null : event.redacts;
  const parts = [
    `{"content":${
      JSON.stringify(redacts !== null && content.redacts === undefined ? { ...content, redacts } : content)
    }`,
    `"event_id":${JSON.stringify(event.eventId)}`,
    `"origin_server_ts":${event.originServerTs}`,
  ];
  // Both places, so that clients written for older and for newer room versions find it.
  if (redacts !== null) parts.push(`"redacts":${JSON.stringify(redacts)}`);
  parts.push(`"sender":${JSON.stringify(event.sender)}`);
  if (event.stateKey !== null) parts.push(`"state_key":${JSON.stringify(event.stateKey)}`);
  parts.push(`"type":${JSON.stringify(event.type)}`);
  if (!redacted) {
    for (const key of EXTRA_KEYS) {
      const value = event.pdu[key];
      if (value !== undefined) parts.push(`"${key}":${JSON.stringify(value)}`);
    }
  }
  return parts.join(",");
}
