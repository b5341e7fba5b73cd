/** What administrators see of reports and do with them, as in Synapse's admin API. */
import { notFound } from "../protocol/errors.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { RoomFacts } from "../rooms/room_facts.ts";
import type { Database } from "../storage/database.ts";
import {
  deleteReport,
  type EventReport,
  type ReportPage,
  selectEventReport,
  selectEventReports,
  selectUserReport,
  selectUserReports,
  type UserReport,
} from "../storage/report_listing.ts";

/** What the service is built from. */
export interface ReportAdminDeps {
  readonly db: Database;
  readonly events: EventStore;
  readonly facts: RoomFacts;
}

/** A page of reports, and how many there are in all. */
export interface ListedReports {
  readonly reports: JsonObject[];
  readonly total: number;
}

/** Administers reports. */
export class ReportAdmin {
  readonly #deps: ReportAdminDeps;

  constructor(deps: ReportAdminDeps) {
    this.#deps = deps;
  }

  /** Returns a page of reports of events. */
  async listEvents(page: ReportPage & { readonly roomId: string; readonly sender: string }): Promise<ListedReports> {
    const { reports, total } = await selectEventReports(this.#deps.db, page);
    return { reports: await Promise.all(reports.map((report) => this.#describe(report))), total };
  }

  /** Returns a report with the event. Throws 404, also when the event is gone. */
  async getEvent(id: number): Promise<JsonObject> {
    const report = await selectEventReport(this.#deps.db, id);
    const stored = report === null ? null : await this.#deps.events.getById(report.eventId);
    if (report === null || stored === null) throw notFound("Event report not found");
    return { ...await this.#describe(report), event_json: JSON.parse(stored.json) };
  }

  /** Removes a report of an event. Throws 404. */
  async deleteEvent(id: number): Promise<void> {
    const isGone = await this.#deps.db.transaction((tx) => deleteReport(tx, { id, of: "event" }));
    if (!isGone) throw notFound("Event report not found");
  }

  /** Returns a page of reports of users. */
  async listUsers(page: ReportPage & { readonly reportedUser: string }): Promise<ListedReports> {
    const { reports, total } = await selectUserReports(this.#deps.db, page);
    return { reports: reports.map(describeUserReport), total };
  }

  /** Returns a report of a user. Throws 404. */
  async getUser(id: number): Promise<JsonObject> {
    const report = await selectUserReport(this.#deps.db, id);
    if (report === null) throw notFound("User report not found");
    return describeUserReport(report);
  }

  /** Removes a report of a user. Throws 404. */
  async deleteUser(id: number): Promise<void> {
    const isGone = await this.#deps.db.transaction((tx) => deleteReport(tx, { id, of: "user" }));
    if (!isGone) throw notFound("User report not found");
  }

  async #describe({ id, receivedTs, roomId, eventId, reporter, ...rest }: EventReport): Promise<JsonObject> {
    const { facts } = this.#deps;
    const { score, reason, sender } = rest;
    const read = async (type: string, key: string) => (await facts.content(roomId, type))?.[key];
    const [name, alias] = [await read("m.room.name", "name"), await read("m.room.canonical_alias", "alias")];
    return {
      ...{ id, received_ts: receivedTs, room_id: roomId, event_id: eventId, user_id: reporter, score, reason, sender },
      canonical_alias: typeof alias === "string" ? alias : null,
      name: typeof name === "string" ? name : null,
    };
  }
}

function describeUserReport({ id, receivedTs, reportedUser, reporter, reason }: UserReport): JsonObject {
  return { id, received_ts: receivedTs, target_user_id: reportedUser, user_id: reporter, reason };
}
