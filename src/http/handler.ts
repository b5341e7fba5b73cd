/**
 * From a request on a listener to its answer: what the listener serves, preflights, the router, CORS, the access log.
 *
 * This runs for every request, so it is one function and no chain of middleware.
 */
import type { ResourceName } from "../config/listeners.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { invalidParam, unrecognized } from "../protocol/errors.ts";
import { countUsage } from "../storage/database_usage.ts";
import { type App, rawPath, type RequestInfo } from "./app.ts";
import { ArrivingBodies } from "./middleware/arriving_bodies.ts";
import { type AnsweredRequest, type BegunRequest, logRequest } from "./middleware/access_log.ts";
import { renderError } from "./middleware/errors.ts";
import { addCors, preflight } from "./middleware/responses.ts";

/** Answers a request that arrived from `remoteAddress` (an IP address, or empty on a UNIX socket). Never rejects. */
export type RequestHandler = (request: Request, remoteAddress: string) => Promise<Response>;

/** What all listeners share. */
export interface HandlerDeps {
  readonly app: App;
  readonly clock: Clock;
  readonly log: Logger;
  /** Told of each request that comes, before anything is done about it. */
  readonly onBegun?: (begun: BegunRequest) => void;
  /** Told of each request that was answered. */
  readonly onAnswered?: (answered: AnsweredRequest) => void;
  /** What bodies count among while they arrive; by default each listener has its own. */
  readonly arriving?: ArrivingBodies;
}

/** What one listener does with requests. */
export interface HandlerOptions {
  readonly resources: ReadonlySet<ResourceName>;
  /** Takes the client's address from `X-Forwarded-For`: only behind a proxy that sets it. */
  readonly xForwarded: boolean;
  /** Takes the request's id from this header, where a proxy sets one. */
  readonly requestIdHeader: string | null;
  /** Names the listener in the log. */
  readonly name: string;
}

const MAX_REQUEST_ID_LENGTH = 100;

/** Returns the resources that a listener serves, with those that the listed ones imply. */
export function impliedResources(names: Iterable<ResourceName>): ReadonlySet<ResourceName> {
  const all = new Set(names);
  if (all.has("client")) all.add("media").add("static");
  if (all.has("federation")) all.add("media").add("keys").add("openid");
  return all;
}

/** Prefixes and what they belong to; the first that fits counts. */
const RESOURCE_OF_PREFIX: readonly (readonly [string, ResourceName])[] = [
  ["/_matrix/client/", "client"],
  ["/_matrix/media/", "media"],
  ["/_matrix/federation/v1/openid/", "openid"],
  ["/_matrix/federation/", "federation"],
  ["/_matrix/key/", "keys"],
  ["/_matrix/consent", "consent"],
  ["/_matrix/static/", "static"],
  ["/_synapse/admin/", "client"],
  ["/_synapse/client/", "client"],
  ["/_synapse/mas/", "client"],
  ["/_synapse/metrics", "metrics"],
];

/** Tells whether a listener with these resources answers this path; paths of no resource (`/health`) always. */
export function isServed(path: string, resources: ReadonlySet<ResourceName>): boolean {
  for (const [prefix, resource] of RESOURCE_OF_PREFIX) {
    if (!path.startsWith(prefix)) continue;
    // Authenticated media lives below the client API, and a media listener serves it.
    if (resource === "client" && path.startsWith("/_matrix/client/v1/media/")) return resources.has("media");
    return resources.has(resource);
  }
  return true;
}

/** Returns the address of the client: as it connected, or as the trusted proxy says. */
function clientIpOf(request: Request, remoteAddress: string): string {
  const forwarded = request.headers.get("x-forwarded-for");
  const first = forwarded?.split(",", 1)[0]?.trim() ?? "";
  // HAProxy, listening on both protocols with one socket, writes IPv4 addresses as IPv6 has them.
  return first === "" ? remoteAddress : first.replace(/^::ffff:(?=[\d.]+$)/i, "").slice(0, 64);
}

/** Makes the handler of one listener. */
export function createHandler(deps: HandlerDeps, options: HandlerOptions): RequestHandler {
  const { app, clock, log, onBegun, onAnswered, arriving = new ArrivingBodies() } = deps;
  const { resources, xForwarded, requestIdHeader, name } = options;
  let count = 0;

  function begin(request: Request, remoteAddress: string): RequestInfo {
    const given = requestIdHeader === null ? null : request.headers.get(requestIdHeader);
    return {
      requestId: given?.slice(0, MAX_REQUEST_ID_LENGTH) ?? `${request.method}-${count++}`,
      clientIp: xForwarded ? clientIpOf(request, remoteAddress) : remoteAddress,
      arriving,
      session: null,
      route: null,
      usage: { count: 0, ms: 0 },
      failure: null,
    };
  }

  async function answer(request: Request, { path, info }: { path: string; info: RequestInfo }): Promise<Response> {
    if (request.method === "OPTIONS") return preflight(path);
    if (!isServed(path, resources)) return renderError(unrecognized(), info);
    // No name, type or key of anything holds a NUL character.
    if (request.url.includes("%00")) return renderError(invalidParam("Addresses must not hold a NUL character"), info);
    try {
      return addCors(await countUsage(info.usage, async () => await app.fetch(request, info)));
    } catch (error) {
      return renderError(error, info);
    }
  }

  return async (request, remoteAddress) => {
    const started = clock.monotonic();
    const info = begin(request, remoteAddress);
    const path = rawPath(request);
    if (path !== "/health") onBegun?.({ request, info });
    const response = await answer(request, { path, info });
    if (path !== "/health") {
      const answered = { request, path, response, info, durationMs: clock.monotonic() - started, listener: name };
      logRequest(log, answered);
      onAnswered?.(answered);
    }
    return response;
  };
}
