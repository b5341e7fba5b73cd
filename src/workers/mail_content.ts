/** What mails about missed messages say: rooms, messages with the one before each, and a subject. */
import type { JsonObject } from "../protocol/json.ts";
import type { UserId } from "../protocol/ids.ts";
import type { StoredEvent } from "../rooms/types.ts";
import { sanitizeHtml } from "../services/sanitize_html.ts";
import { SafeHtml, type TemplateVars } from "../services/templates.ts";
import type { RoomTitles } from "./room_titles.ts";

/** What content is made with. */
export interface MailContentDeps {
  readonly titles: RoomTitles;
  /** Where links lead: a client, or matrix.to. */
  readonly clientBaseUrl: string;
  /** Puts values into one of `email.subjects`. */
  readonly subject: (name: string, values: Readonly<Record<string, string>>) => string;
  /** Returns the event before another one where the user may see it. */
  readonly before: (userId: UserId, stored: StoredEvent) => Promise<StoredEvent | null>;
}

/** A mail's subject and what its templates show. */
export interface MailText {
  readonly subject: string;
  readonly vars: TemplateVars;
}

const MAX_ROOMS = 20;
const MAX_NOTIFICATIONS = 20;
const MAX_TEXT_LENGTH = 4_000;

/** Makes content. */
export class MailContent {
  readonly #deps: MailContentDeps;

  constructor(deps: MailContentDeps) {
    this.#deps = deps;
  }

  /** Returns a mail about unread events, oldest first; there must be one. */
  async of(userId: UserId, events: readonly StoredEvent[]): Promise<MailText> {
    const byRoom = Map.groupBy(events, ({ roomNid }) => roomNid);
    const rooms: TemplateVars[] = [];
    for (const inRoom of [...byRoom.values()].slice(0, MAX_ROOMS)) rooms.push(await this.#room(userId, inRoom));
    const subject = await this.#subject(userId, [...byRoom.values()]);
    return { subject, vars: { summary_text: subject, rooms } };
  }

  async #room(userId: UserId, events: readonly StoredEvent[]): Promise<TemplateVars> {
    const last = lastOf(events);
    const invite = isInvitation(last, userId);
    const title = await this.#deps.titles.room(last, userId) ?? await this.#deps.titles.member(last, last.event.sender);
    const notifs: TemplateVars[] = [];
    for (const stored of invite ? [] : events.slice(-MAX_NOTIFICATIONS)) {
      notifs.push(await this.#notification(userId, stored));
    }
    return {
      title,
      invite,
      notifs,
      link: this.#link(last.event.roomId, null),
      hash: hashOf(last.event.roomId),
      avatar_url: null,
    };
  }

  async #notification(userId: UserId, stored: StoredEvent): Promise<TemplateVars> {
    const { event } = stored;
    const before = await this.#deps.before(userId, stored);
    const messages: TemplateVars[] = [];
    for (const [shown, isHistorical] of [[before, true], [stored, false]] as const) {
      if (shown !== null && isMessage(shown)) messages.push(await this.#message(shown, isHistorical));
    }
    return { link: this.#link(event.roomId, event.eventId), ts: stored.receivedTs, messages };
  }

  async #message(stored: StoredEvent, isHistorical: boolean): Promise<TemplateVars> {
    const { event } = stored;
    const { plain, html } = bodyOf(event.type, event.content);
    return {
      event_type: event.type,
      is_historical: isHistorical,
      id: event.eventId,
      ts: event.originServerTs,
      sender_name: await this.#deps.titles.member(stored, event.sender),
      sender_avatar_url: null,
      sender_hash: hashOf(event.sender),
      msgtype: event.content.msgtype ?? null,
      body_text_plain: plain,
      ...(html === null ? {} : { body_text_html: new SafeHtml(html) }),
    };
  }

  async #subject(userId: UserId, byRoom: readonly (readonly StoredEvent[])[]): Promise<string> {
    const { titles, subject } = this.#deps;
    const [events = []] = byRoom;
    const last = lastOf(events);
    const person = await titles.member(last, last.event.sender);
    const room = await titles.given(last);
    const named = room === null ? { person } : { person, room };
    if (byRoom.length > 1) {
      return subject(room === null ? "messages_from_person_and_others" : "messages_in_room_and_others", named);
    }
    if (isInvitation(last, userId)) {
      return subject(room === null ? "invite_from_person" : "invite_from_person_to_room", named);
    }
    if (events.length === 1) {
      return subject(room === null ? "message_from_person" : "message_from_person_in_room", named);
    }
    return subject(room === null ? "messages_from_person" : "messages_in_room", named);
  }

  #link(roomId: string, eventId: string | null): string {
    const base = this.#deps.clientBaseUrl.replace(/\/+$/, "");
    const place = eventId === null
      ? encodeURIComponent(roomId)
      : `${encodeURIComponent(roomId)}/${encodeURIComponent(eventId)}`;
    return URL.parse(base)?.hostname === "matrix.to" ? `${base}/#/${place}` : `${base}/#/room/${place}`;
  }
}

function lastOf(events: readonly StoredEvent[]): StoredEvent {
  const last = events.at(-1);
  if (last === undefined) throw new Error("A mail is about something");
  return last;
}

function isInvitation({ event }: StoredEvent, userId: UserId): boolean {
  return event.type === "m.room.member" && event.stateKey === userId && event.content.membership === "invite";
}

function isMessage({ event, redactedByNid }: StoredEvent): boolean {
  return (event.type === "m.room.message" || event.type === "m.room.encrypted") && redactedByNid === null;
}

function bodyOf(type: string, content: Readonly<JsonObject>): { plain: string; html: string | null } {
  if (type === "m.room.encrypted") return { plain: "(encrypted message)", html: null };
  const plain = typeof content.body === "string" ? content.body.slice(0, MAX_TEXT_LENGTH) : "";
  const { formatted_body: formatted, format } = content;
  const isText = ["m.text", "m.emote", "m.notice"].includes(String(content.msgtype));
  if (!isText || format !== "org.matrix.custom.html" || typeof formatted !== "string") return { plain, html: null };
  return { plain, html: sanitizeHtml(formatted) };
}

/** A number that stays with an id, by which templates choose a picture. */
function hashOf(id: string): number {
  let sum = 0;
  for (const character of id) sum += character.codePointAt(0) ?? 0;
  return sum;
}
