/**
 * What an application service is told next: the body of a transaction.
 * Spec: application service API, "Pushing events" and "Pushing ephemeral data"; MSC2409, MSC3202, MSC4203.
 */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { EventRenderer } from "../rooms/renderer.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { AppserviceClient } from "../services/appservice_client.ts";
import type { AppserviceInterest } from "../services/appservice_interest.ts";
import type { Appservice, Appservices } from "../services/appservices.ts";
import { type AddressedMessage, selectEventsBetween, selectMessagesBetween } from "../storage/appservices.ts";
import { selectDeviceListChanges } from "../storage/cross_signing.ts";
import type { Database } from "../storage/database.ts";
import { selectUser } from "../storage/users.ts";
import type { AppserviceDeviceData } from "./appservice_device_data.ts";
import type { AppserviceEphemeral, EphemeralPositions } from "./appservice_ephemeral.ts";

/** Up to where a service has been told, in each stream. */
export interface AppservicePositions extends EphemeralPositions {
  readonly events: number;
  readonly toDevice: number;
  readonly deviceLists: number;
}

/** What a transaction is built with. */
export interface AppserviceBatchesDeps {
  readonly db: Database;
  readonly events: EventStore;
  readonly renderer: EventRenderer;
  readonly appservices: Appservices;
  readonly interest: AppserviceInterest;
  readonly client: AppserviceClient;
  readonly ephemeral: AppserviceEphemeral;
  readonly deviceData: AppserviceDeviceData;
}

/** A transaction in the making. */
export interface AppserviceBatch {
  /** JSON text, or null when there is nothing to tell. */
  readonly body: string | null;
  /** The streams are looked at up to here. */
  readonly positions: AppservicePositions;
  /** Messages that go with it, and are kept nowhere else then. */
  readonly messages: readonly AddressedMessage[];
}

const MAX_EVENTS = 100;
const MAX_MESSAGES = 100;
const MAX_LIST_CHANGES = 1_000;

/** Builds transactions. */
export class AppserviceBatches {
  readonly #deps: AppserviceBatchesDeps;

  constructor(deps: AppserviceBatchesDeps) {
    this.#deps = deps;
  }

  /** Returns what is next for a service in `(after, upTo]` of all streams. */
  async next(
    service: Appservice,
    { after, upTo }: { after: AppservicePositions; upTo: AppservicePositions },
  ): Promise<AppserviceBatch> {
    const { ephemeral } = this.#deps;
    const found = await this.#events(service, { after: after.events, upTo: upTo.events });
    const passing = service.receivesEphemeral
      ? await ephemeral.between(service, { after, upTo })
      : { events: [], positions: upTo };
    const toDevice = service.receivesEphemeral
      ? await this.#messages(service, { after: after.toDevice, upTo: upTo.toDevice })
      : { messages: [], position: upTo.toDevice };
    const lists = service.receivesDeviceData
      ? await this.#listChanges(service, { after: after.deviceLists, upTo: upTo.deviceLists })
      : { changed: [], position: upTo.deviceLists };
    const positions: AppservicePositions = {
      ...passing.positions,
      events: found.position,
      toDevice: toDevice.position,
      deviceLists: lists.position,
    };
    const { messages } = toDevice;
    const size = found.events.length + passing.events.length + messages.length + lists.changed.length;
    if (size === 0) return { body: null, positions, messages };
    const body = await this.#body(service, { events: found.events, ephemeral: passing.events, messages, lists });
    return { body, positions, messages };
  }

  async #body(service: Appservice, { events, ephemeral, messages, lists }: {
    events: readonly StoredEvent[];
    ephemeral: readonly JsonObject[];
    messages: readonly AddressedMessage[];
    lists: { readonly changed: readonly UserId[] };
  }): Promise<string> {
    const { renderer, deviceData } = this.#deps;
    const texts = await renderer.render(events, { requester: null, roomId: true, previous: true });
    const parts = [`"events":[${texts.join(",")}]`];
    if (service.receivesEphemeral) {
      const text = `[${ephemeral.map((event) => JSON.stringify(event)).join(",")}]`;
      const addressed = `[${messages.map(addressedText).join(",")}]`;
      parts.push(`"ephemeral":${text}`, `"de.sorunome.msc2409.ephemeral":${text}`);
      parts.push(`"to_device":${addressed}`, `"de.sorunome.msc2409.to_device":${addressed}`);
    }
    if (service.receivesDeviceData) {
      parts.push(`"org.matrix.msc3202.device_lists":${JSON.stringify({ changed: lists.changed, left: [] })}`);
      const users = await this.#usersConcerned(service, { events, messages });
      for (const [key, value] of Object.entries(await deviceData.of(users))) {
        parts.push(`${JSON.stringify(key)}:${JSON.stringify(value)}`);
      }
    }
    return `{${parts.join(",")}}`;
  }

  async #events(
    service: Appservice,
    { after, upTo }: { after: number; upTo: number },
  ): Promise<{ events: StoredEvent[]; position: number }> {
    const { db, events, interest } = this.#deps;
    const rows = upTo > after ? await selectEventsBetween(db, { after, upTo, limit: MAX_EVENTS }) : [];
    const position = rows.length < MAX_EVENTS ? upTo : rows.at(-1)?.position ?? upTo;
    const stored = await events.byNid(rows.map(({ nid }) => nid));
    const wanted: StoredEvent[] = [];
    for (const { nid } of rows) {
      const event = stored.get(nid);
      if (event === undefined) continue;
      interest.noteEvent(event);
      await this.#makeUser(service, event);
      if (await interest.inEvent(service, event)) wanted.push(event);
    }
    return { events: wanted, position };
  }

  /** A user in the service's namespace whom somebody writes to and who does not exist yet may be made by the service. */
  async #makeUser(service: Appservice, { event }: StoredEvent): Promise<void> {
    const { db, appservices, client } = this.#deps;
    if (event.type !== "m.room.member" || event.sender === event.stateKey) return;
    const userId = event.stateKey as UserId;
    if (userId === service.sender || !appservices.ownsUser(service, userId)) return;
    if (await selectUser(db, userId) === null) await client.has(service, "users", userId);
  }

  async #messages(
    service: Appservice,
    { after, upTo }: { after: number; upTo: number },
  ): Promise<{ messages: AddressedMessage[]; position: number }> {
    const { db, appservices } = this.#deps;
    const rows = upTo > after ? await selectMessagesBetween(db, { after, upTo, limit: MAX_MESSAGES }) : [];
    return {
      messages: rows.filter(({ userId }) => appservices.ownsUser(service, userId)),
      position: rows.length < MAX_MESSAGES ? upTo : rows.at(-1)?.position ?? upTo,
    };
  }

  async #listChanges(
    service: Appservice,
    { after, upTo }: { after: number; upTo: number },
  ): Promise<{ changed: UserId[]; position: number }> {
    const end = Math.min(upTo, after + MAX_LIST_CHANGES);
    if (end <= after) return { changed: [], position: upTo };
    const users = await selectDeviceListChanges(this.#deps.db, { after, upTo: end, limit: MAX_LIST_CHANGES });
    const changed = await this.#deps.interest.amongUsers(service, [...new Set(users)]);
    return { changed: [...changed].sort(), position: end };
  }

  /** Whose keys may be used up by what the transaction tells: the service's users who get messages or are in its rooms. */
  async #usersConcerned(
    service: Appservice,
    { events, messages }: { events: readonly StoredEvent[]; messages: readonly AddressedMessage[] },
  ): Promise<Set<UserId>> {
    const users = new Set(messages.map(({ userId }) => userId));
    for (const roomId of new Set<RoomId>(events.map(({ event }) => event.roomId))) {
      for (const userId of await this.#deps.interest.usersIn(service, roomId)) users.add(userId);
    }
    return users;
  }
}

function addressedText({ json, userId, deviceId }: AddressedMessage): string {
  return `${json.slice(0, -1)},"to_user_id":${JSON.stringify(userId)},"to_device_id":${JSON.stringify(deviceId)}}`;
}
