/**
 * What application services ask of the server beyond the client API: a ping, and the room lists of their networks.
 * Spec: application service API, "Pinging" and "Published room directories".
 */
import { forbidden, MatrixError, notFound } from "../protocol/errors.ts";
import type { RoomId } from "../protocol/ids.ts";
import type { Requester } from "../rooms/types.ts";
import { deleteListedRoom, insertListedRoom } from "../storage/appservices.ts";
import type { Database } from "../storage/database.ts";
import { selectRoomById } from "../storage/rooms.ts";
import type { Clock } from "../lib/clock.ts";
import type { AppserviceClient } from "./appservice_client.ts";
import type { Appservice, Appservices } from "./appservices.ts";

/** What the service is built from. */
export interface AppserviceActionsDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly appservices: Appservices;
  readonly client: Pick<AppserviceClient, "request">;
  /** Called when a service has shown that it can be reached. */
  readonly onReached: (serviceId: string) => void;
}

const PING_TIMEOUT_MS = 10_000;
const MAX_SHOWN_BODY = 4_096;

/** Carries out what services ask. */
export class AppserviceActions {
  readonly #deps: AppserviceActionsDeps;

  constructor(deps: AppserviceActionsDeps) {
    this.#deps = deps;
  }

  /** Calls a service back; returns how long that took in milliseconds. */
  async ping(
    requester: Requester,
    { serviceId, transactionId }: { serviceId: string; transactionId: string | null },
  ): Promise<number> {
    const { clock, client, onReached } = this.#deps;
    const service = this.#requireSame(requester, serviceId);
    if (service.url === null) {
      throw new MatrixError(400, "M_URL_NOT_SET", "The application service has no URL configured");
    }
    const started = clock.monotonic();
    const body = JSON.stringify(transactionId === null ? {} : { transaction_id: transactionId });
    const request = { method: "POST", path: "/_matrix/app/v1/ping", body, timeoutMs: PING_TIMEOUT_MS } as const;
    let answer;
    try {
      answer = await client.request(service, request);
    } catch (error) {
      if (error instanceof DOMException && error.name === "TimeoutError") {
        throw new MatrixError(504, "M_CONNECTION_TIMEOUT", "Connection to application service timed out");
      }
      throw new MatrixError(502, "M_CONNECTION_FAILED", "Cannot connect to the application service");
    }
    const { status, text } = answer;
    if (status < 200 || status > 299) {
      throw new MatrixError(502, "M_BAD_STATUS", `Ping returned status ${status}`, {
        status,
        body: text.slice(0, MAX_SHOWN_BODY),
      });
    }
    onReached(serviceId);
    return Math.round(clock.monotonic() - started);
  }

  /** Puts a room into the list of a network of the requesting service, or takes it out. */
  async setListed(
    requester: Requester,
    { networkId, roomId, isListed }: { networkId: string; roomId: RoomId; isListed: boolean },
  ): Promise<void> {
    const { appserviceId: serviceId } = requester;
    if (serviceId === null) throw forbidden("Only application services can use this endpoint");
    const { db } = this.#deps;
    if (await selectRoomById(db, roomId) === null) throw notFound("Room not found");
    await db.transaction((tx) =>
      isListed
        ? insertListedRoom(tx, { serviceId, networkId, roomId })
        : deleteListedRoom(tx, { serviceId, networkId, roomId })
    );
  }

  #requireSame(requester: Requester, serviceId: string): Appservice {
    const service = requester.appserviceId === serviceId ? this.#deps.appservices.byId(serviceId) : null;
    if (service === null) throw forbidden("The access token is not the one of this application service");
    return service;
  }
}
