/**
 * The shape of the HTTP layer: what a request carries, what a route module looks like, how routes are registered.
 *
 * A route module is `export function xRoutes(app: App, deps: XDeps): void`. Each endpoint is registered once, through
 * `client(app)` (or `plain(app)` for paths outside the versioned client API), as guards followed by one handler:
 *
 *     client(app).put("/rooms/:roomId/send/:type/:txnId", auth.user(), limits.perUser("rc_message"), async (c) => {
 *       const { roomId } = pathIds(c, { roomId: parseRoomId });
 *       const body = await readJson(c, SendBody);
 *       return json({ event_id: await rooms.send(requester(c), { ... }) });
 *     });
 *
 * A guard throws a `MatrixError` to refuse and returns nothing to go on. Guards run one after another inside a single
 * Hono handler, because Hono skips its middleware composition for routes with exactly one handler.
 */
import { type Context, Hono } from "hono";
import type { Requester } from "../rooms/types.ts";
import { MatrixError, missingToken, unrecognized } from "../protocol/errors.ts";
import type { Session } from "../services/tokens.ts";
import type { DatabaseUsage } from "../storage/database_usage.ts";
import type { ArrivingBodies } from "./middleware/arriving_bodies.ts";
import { renderError } from "./middleware/errors.ts";

/** What travels with one request: set by the listener, completed by the guards, read by the access log. */
export interface RequestInfo {
  readonly requestId: string;
  /** The address of the client: the first of `X-Forwarded-For` on listeners that trust it. */
  readonly clientIp: string;
  /** What its body counts among while it arrives. */
  readonly arriving: ArrivingBodies;
  /** The access token and the account behind it, once an `auth` guard has passed. */
  session: Session | null;
  /** The path of the endpoint that answers, with the names of its parameters; null where none does. */
  route: string | null;
  /** What it took of the database. */
  readonly usage: DatabaseUsage;
  /** The response of a request that failed for no fault of the client carries its cause to the log here. */
  failure: unknown;
}

/** Hono's environment of this server: `c.env` is the request's own `RequestInfo`. */
export interface AppEnv {
  Bindings: RequestInfo;
}

/** The router that all route modules register on. */
export type App = Hono<AppEnv>;

/** The context of one request. */
export type Ctx = Context<AppEnv>;

/** Decides whether the request may go on: throws to refuse. */
export type Guard = (c: Ctx) => void | Promise<void>;

/** Answers a request. */
export type Handler = (c: Ctx) => Response | Promise<Response>;

/** Guards, then the handler. */
export type Steps = readonly [...Guard[], Handler];

/** The HTTP methods that endpoints use. */
export type Method = "GET" | "POST" | "PUT" | "DELETE" | "PATCH";

/** Registers endpoints under the prefixes it was made for. */
export interface Registrar {
  get(path: string, ...steps: Steps): Registrar;
  post(path: string, ...steps: Steps): Registrar;
  put(path: string, ...steps: Steps): Registrar;
  delete(path: string, ...steps: Steps): Registrar;
  patch(path: string, ...steps: Steps): Registrar;
}

const METHODS: readonly Method[] = ["GET", "POST", "PUT", "DELETE", "PATCH"];

/**
 * Returns the path of a request exactly as sent, still percent-encoded and without the query.
 *
 * Request URLs are not trusted further: the host may come from a bad `Host` header or an absolute-form request line.
 * Because the router sees the raw path, an encoded slash stays inside its segment and parameters are decoded once.
 */
export function rawPath(request: { readonly url: string }): string {
  const url = request.url;
  const scheme = url.indexOf("://");
  const start = url.indexOf("/", scheme < 0 ? 0 : scheme + 3);
  if (start < 0) return "/";
  const query = url.indexOf("?", start);
  const hash = url.indexOf("#", start);
  let end = query < 0 ? url.length : query;
  if (hash >= 0 && hash < end) end = hash;
  return url.slice(start, end);
}

/** Makes the router, with the answers for unknown paths, wrong methods and errors. */
export function createApp(): App {
  const app: App = new Hono<AppEnv>({ strict: true, getPath: rawPath });
  app.onError((error, c) => renderError(error, c.env));
  app.notFound((c) => {
    const path = rawPath(c.req.raw);
    const known = METHODS.some((method) => app.router.match(method, path)[0].length > 0);
    const error = known ? new MatrixError(405, "M_UNRECOGNIZED", "Unrecognized request") : unrecognized();
    return renderError(error, c.env);
  });
  return app;
}

function runSteps(steps: Steps, route: string): Handler {
  const guards = steps.slice(0, -1) as Guard[];
  const handler = steps[steps.length - 1] as Handler;
  return async (c) => {
    c.env.route = route;
    for (const guard of guards) {
      const pending = guard(c);
      if (pending !== undefined) await pending;
    }
    return handler(c);
  };
}

function registrar(app: App, prefixes: readonly string[]): Registrar {
  function add(method: Method): (path: string, ...steps: Steps) => Registrar {
    return (path, ...steps) => {
      for (const prefix of prefixes) app.on(method, prefix + path, runSteps(steps, prefix + path));
      return self;
    };
  }
  const self: Registrar = {
    get: add("GET"),
    post: add("POST"),
    put: add("PUT"),
    delete: add("DELETE"),
    patch: add("PATCH"),
  };
  return self;
}

/** A path segment after `/_matrix/client/`, for example `v3` or `unstable/org.matrix.msc4140`. */
export type ClientVersion = "v1" | "v3" | "r0" | "unstable" | `unstable/${string}`;

/** Registers client-server endpoints under each of `versions` (by default `v3` and its alias `r0`). */
export function client(app: App, versions: readonly ClientVersion[] = ["v3", "r0"]): Registrar {
  return registrar(app, versions.map((version) => `/_matrix/client/${version}`));
}

/** Registers endpoints by their full path, or under `prefix`. */
export function plain(app: App, prefix = ""): Registrar {
  return registrar(app, [prefix]);
}

/** Returns who is asking; for handlers behind `auth.user()`, `auth.guestOk()` or `auth.admin()`. */
export function requester(c: Ctx): Requester {
  const session = c.env.session;
  if (session === null) throw missingToken();
  return session.requester;
}

/** Returns the access token's session, or null; for handlers behind `auth.optional()`. */
export function sessionOf(c: Ctx): Session | null {
  return c.env.session;
}
