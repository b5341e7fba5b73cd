/** One log line for each request, in which no token can appear. */
import { describeError } from "../../lib/describe_error.ts";
import type { Logger } from "../../lib/log.ts";
import type { RequestInfo } from "../app.ts";

/** What is known of a request that has come. */
export interface BegunRequest {
  readonly request: Request;
  readonly info: RequestInfo;
}

/** What is known when a request has been answered. */
export interface AnsweredRequest {
  readonly request: Request;
  readonly path: string;
  readonly response: Response;
  readonly info: RequestInfo;
  readonly durationMs: number;
  /** The listener's tag or port. */
  readonly listener: string;
}

/** Query parameters whose values are secrets. */
const SECRET_PARAMS = /([?&](?:access_token|loginToken|token|client_secret|sid)=)[^&#]*/gi;
const MAX_LOGGED_PATH = 1024;

/** Returns the path and query as they may be logged. */
export function loggablePath(url: string, path: string): string {
  const at = url.indexOf("?");
  const text = at < 0 ? path : path + url.slice(at).replace(SECRET_PARAMS, "$1<redacted>");
  return text.length > MAX_LOGGED_PATH ? `${text.slice(0, MAX_LOGGED_PATH)}…` : text;
}

function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Writes the line, and the cause of a failure that the client was not told. */
export function logRequest(log: Logger, answered: AnsweredRequest): void {
  const { request, info, response } = answered;
  if (info.failure === null && !log.isEnabled("info")) return;
  const fields = {
    request: info.requestId,
    listener: answered.listener,
    ip: info.clientIp,
    user: info.session?.requester.userId ?? null,
    method: request.method,
    path: loggablePath(request.url, answered.path),
    status: response.status,
    ms: tenths(answered.durationMs),
    db_ms: tenths(info.usage.ms),
    db_count: info.usage.count,
  };
  if (info.failure !== null) log.error("Request failed", { ...fields, error: describeError(info.failure) });
  log.info("Processed request", fields);
}
