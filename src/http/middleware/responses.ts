/** How answers are made: JSON with the headers that every answer of the API carries. */
import type { JsonObject, JsonValue } from "../../protocol/json.ts";

/** What a browser may do with the API. Spec: client-server API, "Web browser clients". */
export const CORS_HEADERS = [
  ["access-control-allow-origin", "*"],
  ["access-control-allow-methods", "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"],
  ["access-control-allow-headers", "X-Requested-With, Content-Type, Authorization, Date"],
  ["access-control-expose-headers", "Retry-After"],
] as const satisfies readonly (readonly [string, string])[];

const JSON_HEADERS: [string, string][] = [
  ["content-type", "application/json"],
  ["cache-control", "no-cache, no-store, must-revalidate"],
  ["x-content-type-options", "nosniff"],
  ...CORS_HEADERS.map(([name, value]): [string, string] => [name, value]),
];
const JSON_OK: ResponseInit = { status: 200, headers: JSON_HEADERS };

/** Answers with text that is already JSON. */
export function jsonText(text: string, { status = 200, headers = [] }: JsonOptions = {}): Response {
  if (status === 200 && headers.length === 0) return new Response(text, JSON_OK);
  return new Response(text, {
    status,
    headers: [...JSON_HEADERS, ...headers.map(([k, v]): [string, string] => [k, v])],
  });
}

/** Answers with `value` as JSON. */
export function json(value: JsonValue | Readonly<Partial<JsonObject>>, options?: JsonOptions): Response {
  return jsonText(JSON.stringify(value), options);
}

/** Status (200 by default) and further headers of a JSON answer. */
export interface JsonOptions {
  readonly status?: number;
  readonly headers?: readonly (readonly [string, string])[];
}

/** Adds the browser headers to an answer made elsewhere, which may expose further ones. */
export function addCors(response: Response): Response {
  if (response.headers.has("access-control-allow-origin")) return response;
  for (const [name, value] of CORS_HEADERS) response.headers.append(name, value);
  return response;
}

/** What a browser may send beyond the API's own headers: rendezvous sessions are written by their tag (MSC4108). */
const RENDEZVOUS_HEADERS: [string, string] = ["access-control-allow-headers", "If-Match, If-None-Match"];

/** Answers a browser's preflight request. */
export function preflight(path: string): Response {
  const headers = CORS_HEADERS.map(([k, v]): [string, string] => [k, v]);
  if (path.includes("/rendezvous")) headers.push(RENDEZVOUS_HEADERS);
  return new Response(null, { status: 204, headers });
}
