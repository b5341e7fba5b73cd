/** The only place where errors become responses. Spec: client-server API, "Standard error response". */
import { invalidParam, limitExceeded, MatrixError } from "../../protocol/errors.ts";
import { DatabaseError } from "../../storage/database_error.ts";
import type { RequestInfo } from "../app.ts";
import { json } from "./responses.ts";

/**
 * Renders `error`. Text that no database can keep comes from the client. Anything else but a `MatrixError` is a fault of the server: the client learns nothing of it, and the
 * cause is left in `info.failure` for the access log, which also has the request id.
 */
export function renderError(error: unknown, info: Pick<RequestInfo, "failure">): Response {
  if (error instanceof DatabaseError && error.kind === "text") return renderError(invalidParam(error.message), info);
  if (!(error instanceof MatrixError)) {
    info.failure = error;
    return json({ errcode: "M_UNKNOWN", error: "Internal server error" }, { status: 500 });
  }
  const retryAfterMs = error.extra.retry_after_ms;
  const headers: [string, string][] = [];
  if (typeof retryAfterMs === "number") headers.push(["retry-after", String(Math.ceil(retryAfterMs / 1000))]);
  return json(error.toJSON(), { status: error.status, headers });
}

/** Throws 429 when `waitMs` is above zero. */
export function refuseIfLimited(waitMs: number): void {
  if (waitMs > 0) throw limitExceeded(waitMs);
}
