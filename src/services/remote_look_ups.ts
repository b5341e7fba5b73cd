/** What users ask about users, aliases and rooms of other servers. */
import type { RemoteUsers } from "../federation/remote_users.ts";
import { RemoteError } from "../federation/remote_error.ts";
import type { Logger } from "../lib/log.ts";
import { MatrixError } from "../protocol/errors.ts";
import { type RoomAlias, type RoomId, type ServerName, serverNameOf, type UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";

/** Asks other servers. */
export class RemoteLookUps {
  readonly #remote: RemoteUsers;
  readonly #log: Logger;

  constructor({ remote, log }: { remote: RemoteUsers; log: Logger }) {
    this.#remote = remote;
    this.#log = log;
  }

  /** Returns a profile or one field of it; null where the server does not know the user, or cannot be asked. */
  async profile(userId: UserId, field: string | null): Promise<JsonObject | null> {
    return await this.#orNull(() => this.#remote.profile(serverNameOf(userId), { userId, field }));
  }

  /** Returns the room of an alias and servers to join it by, the alias's own first; null as above. */
  async alias(alias: RoomAlias): Promise<{ roomId: RoomId; servers: ServerName[] } | null> {
    const server = serverNameOf(alias);
    const found = await this.#orNull(() => this.#remote.directory(server, alias));
    return found === null ? null : { roomId: found.roomId, servers: [...new Set([server, ...found.servers])] };
  }

  /** Returns a page of a server's public rooms; throws 502 when it does not give one. */
  async publicRooms(server: ServerName, body: JsonObject): Promise<JsonObject> {
    const answer = await this.#orNull(() => this.#remote.publicRooms(server, body));
    if (answer === null || !Array.isArray(answer["chunk"])) {
      throw new MatrixError(502, "M_UNKNOWN", `Cannot fetch the room list of "${server}"`);
    }
    return answer;
  }

  async #orNull<T>(ask: () => Promise<T>): Promise<T | null> {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error;
      this.#log.info("Another server did not answer a question", { server: error.server, reason: error.message });
      return null;
    }
  }
}
