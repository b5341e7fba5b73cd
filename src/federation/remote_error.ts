/** What can go wrong when another server is asked. */
import type { ServerName } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";

/** What is known about a failed request. */
export interface RemoteFailure {
  readonly server: ServerName;
  /** Whether the same request may succeed later. */
  readonly transient: boolean;
  /** Whether the server answered at all. */
  readonly reachable: boolean;
  /** The HTTP status, null where there was no answer. */
  readonly status?: number | null;
  /** The server's own error object. Never passed on as it is: the use case chooses the answer. */
  readonly body?: JsonObject | null;
  /** How long the server asks to wait. */
  readonly retryAfterMs?: number | null;
  readonly cause?: unknown;
}

/** A request to another server that did not succeed. */
export class RemoteError extends Error {
  override readonly name = "RemoteError";
  readonly server: ServerName;
  readonly transient: boolean;
  readonly reachable: boolean;
  readonly status: number | null;
  readonly errcode: string | null;
  readonly body: JsonObject | null;
  readonly retryAfterMs: number | null;

  constructor(message: string, failure: RemoteFailure) {
    super(message, failure.cause === undefined ? {} : { cause: failure.cause });
    this.server = failure.server;
    this.transient = failure.transient;
    this.reachable = failure.reachable;
    this.status = failure.status ?? null;
    this.body = failure.body ?? null;
    this.retryAfterMs = failure.retryAfterMs ?? null;
    const errcode = this.body?.["errcode"];
    this.errcode = typeof errcode === "string" ? errcode.slice(0, 255) : null;
  }
}

/** The server answered with something that is not what was asked for. */
export function badAnswer(server: ServerName, message: string): RemoteError {
  return new RemoteError(message, { server, transient: false, reachable: true, status: 200 });
}
