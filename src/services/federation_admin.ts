/** What administrators see of other servers, as in Synapse's admin API. */
import type { Backoff } from "../federation/backoff.ts";
import { MatrixError, notFound } from "../protocol/errors.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Database } from "../storage/database.ts";
import {
  type DestinationOrder,
  type ListedDestination,
  type ListPage,
  selectDestination,
  selectDestinationRooms,
  selectDestinations,
} from "../storage/destination_listing.ts";

/** Administers what is sent to other servers. */
export class FederationAdmin {
  readonly #db: Database;
  readonly #backoff: Backoff;

  constructor({ db, backoff }: { db: Database; backoff: Backoff }) {
    this.#db = db;
    this.#backoff = backoff;
  }

  /** Returns a page of servers whose names hold a text. */
  async list(
    request: { name: string; order: DestinationOrder; page: ListPage },
  ): Promise<{ destinations: JsonObject[]; total: number }> {
    const { destinations, total } = await selectDestinations(this.#db, request);
    return { destinations: destinations.map(describe), total };
  }

  /** Returns a server. Throws 404. */
  async get(destination: string): Promise<JsonObject> {
    return describe(await this.#require(destination));
  }

  /** Returns a page of the rooms that a server is in. Throws 404. */
  async rooms(destination: string, page: ListPage): Promise<{ rooms: JsonObject[]; total: number }> {
    await this.#require(destination);
    const { rooms, total } = await selectDestinationRooms(this.#db, { destination, page });
    return {
      rooms: rooms.map(({ roomId, lastPosition }) => ({ room_id: roomId, stream_ordering: lastPosition })),
      total,
    };
  }

  /** Tries a server that fails again at once. Throws 404, and 400 for one that does not fail. */
  async reset(destination: string): Promise<void> {
    const found = await this.#require(destination);
    if (found.failingSinceTs === null) {
      const message = "The retry timing does not need to be reset for this destination.";
      throw new MatrixError(400, "M_UNKNOWN", message);
    }
    await this.#backoff.noteAlive(found.destination);
  }

  async #require(destination: string): Promise<ListedDestination> {
    const found = await selectDestination(this.#db, destination);
    if (found === null) throw notFound("Unknown destination");
    return found;
  }
}

function describe(found: ListedDestination): JsonObject {
  return {
    destination: found.destination,
    retry_last_ts: found.lastFailureTs,
    retry_interval: found.retryIntervalMs,
    failure_ts: found.failingSinceTs,
    last_successful_stream_ordering: found.sentUpTo,
  };
}
