/** Asks a room's `m.room.server_acl`, kept in the form in which it is quick to ask. */
import type { RoomEvent } from "../protocol/event.ts";
import type { RoomId, ServerName } from "../protocol/ids.ts";
import { isServerAllowed, parseServerAcl, type ServerAcl } from "../protocol/server_acl.ts";
import type { StateReader } from "./state_reader.ts";

/** Tells which servers a room shuts out. */
export class ServerAcls {
  readonly #state: StateReader;
  readonly #parsed = new WeakMap<RoomEvent, ServerAcl>();

  constructor({ state }: { state: StateReader }) {
    this.#state = state;
  }

  /** Tells whether the room's current state lets a server take part; rooms that are not known do. */
  async isAllowed(roomId: RoomId, server: ServerName): Promise<boolean> {
    const root = await this.#state.currentRoot(roomId);
    const stored = root === null ? null : await this.#state.get(root, "m.room.server_acl", "");
    if (stored === null) return true;
    let acl = this.#parsed.get(stored.event);
    if (acl === undefined) {
      // A redacted ACL has no lists left, which shuts out everybody: the rules do not make an exception.
      acl = parseServerAcl(stored.redactedByNid === null ? stored.event.content : {});
      this.#parsed.set(stored.event, acl);
    }
    return isServerAllowed(server, acl);
  }
}
