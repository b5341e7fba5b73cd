/**
 * Endpoints that only servers may call, each proving its name. Spec: server-server API, "Request Authentication".
 *
 * A route module registers them through `signed(app, auth)`:
 *
 *     signed(app, auth).get("/v1/event/:eventId", async (c, { origin }) => {
 *       const { eventId } = pathIds(c, { eventId: parseEventId });
 *       return json(await events.forServer(origin, eventId));
 *     });
 */
import { Buffer } from "node:buffer";
import type { Backoff } from "../../federation/backoff.ts";
import type { RequestSignature, SignatureChecks } from "../../federation/signature_checks.ts";
import { parseXMatrix, type XMatrix } from "../../federation/x_matrix.ts";
import { canonicalJson, CanonicalJsonError, parseJsonStrict } from "../../protocol/canonical_json.ts";
import { badJson, forbidden, MatrixError, notJson } from "../../protocol/errors.ts";
import { parseServerName, type ServerName } from "../../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../../protocol/json.ts";
import { type App, type Ctx, type Method, plain } from "../app.ts";
import { readBytes } from "../middleware/body.ts";
import type { BodyBudget } from "./body_budget.ts";
import type { OriginLimits } from "./origin_limits.ts";

/** A request whose signature is good. */
export interface SignedCall {
  readonly origin: ServerName;
  /** The body, with numbers kept as written; empty for methods without one. */
  readonly body: JsonObject;
}

/** Answers a request of a server. */
export type SignedHandler = (c: Ctx, call: SignedCall) => Response | Promise<Response>;

/** How an endpoint differs from the usual. */
export interface SignedOptions {
  /** The longest body in bytes. */
  readonly maxBytes?: number;
  /** Whether `rc_federation` counts; it does not for transactions, which have a queue of their own. */
  readonly isLimited?: boolean;
}

/** Registers endpoints under `/_matrix/federation`. */
export interface SignedRegistrar {
  get(path: string, handler: SignedHandler, options?: SignedOptions): SignedRegistrar;
  post(path: string, handler: SignedHandler, options?: SignedOptions): SignedRegistrar;
  put(path: string, handler: SignedHandler, options?: SignedOptions): SignedRegistrar;
}

/** What authentication is built from. */
export interface FederationAuthDeps {
  readonly serverName: ServerName;
  readonly checks: SignatureChecks;
  readonly backoff: Backoff;
  readonly limits: OriginLimits;
  readonly bodies: BodyBudget;
  /** Tells whether `federation_domain_whitelist` lets a server talk to us. */
  readonly isAllowed: (server: ServerName) => boolean;
}

const DEFAULT_MAX_BYTES = 1024 * 1024;

/** Authenticates servers. */
export class FederationAuth {
  readonly #deps: FederationAuthDeps;

  constructor(deps: FederationAuthDeps) {
    this.#deps = deps;
  }

  /** Authenticates a request and answers it in its turn. */
  async answer(c: Ctx, { handler, options }: { handler: SignedHandler; options: SignedOptions }): Promise<Response> {
    const call = await this.#authenticate(c, options);
    using _held = this.#deps.bodies.hold(call.origin, call.bytes);
    if (options.isLimited === false) return await handler(c, call);
    return await this.#deps.limits.run(call.origin, async () => await handler(c, call));
  }

  /** Returns who asks and with what body; throws 401 for what is wrong with the credentials, 403 for servers shut out. */
  async #authenticate(
    c: Ctx,
    { maxBytes = DEFAULT_MAX_BYTES }: SignedOptions,
  ): Promise<SignedCall & { readonly bytes: number }> {
    const { checks, backoff, serverName, isAllowed } = this.#deps;
    const { origin, credentials } = this.#credentialsOf(c.req.raw);
    if (!isAllowed(origin)) throw forbidden("Federation with this server is not allowed");
    // Before the body is read, so that nothing of it is waiting while keys are fetched.
    if (!await checks.hasKey(origin, credentials)) refuse("no key", origin);
    const bytes = c.req.method === "GET" ? null : await readBytes(c, maxBytes);
    const body = bytes === null ? null : readObject(bytes);
    const request = {
      method: c.req.method,
      uri: targetOf(c.req.raw.url),
      destination: serverName,
      bodyText: body === null ? null : canonicalText(body),
    };
    let outcome = await checks.request(request, { origin, credentials });
    // The rules for URLs, by which the listener may have read the request, encode this one character in queries.
    if (outcome === "bad signature" && request.uri.includes("%27")) {
      outcome = await checks.request({ ...request, uri: request.uri.replaceAll("%27", "'") }, { origin, credentials });
    }
    if (outcome !== "good") refuse(outcome, origin);
    await backoff.noteAlive(origin);
    return { origin, body: body ?? {}, bytes: bytes?.length ?? 0 };
  }

  #credentialsOf(request: Request): { origin: ServerName; credentials: readonly XMatrix[] } {
    const header = request.headers.get("authorization");
    if (header === null) throw unauthorized("Missing Authorization header");
    const credentials = parseXMatrix(header);
    const [first] = credentials ?? [];
    if (credentials === null || first === undefined) throw unauthorized("Malformed Authorization header");
    const origin = parseServerName(first.origin);
    if (origin === null) throw unauthorized("Origin is not a server name");
    if (credentials.some((credential) => credential.origin !== origin)) {
      throw unauthorized("Credentials of more than one origin");
    }
    const { serverName } = this.#deps;
    if (credentials.some(({ destination }) => destination !== null && destination !== serverName)) {
      throw unauthorized("Destination is not this server");
    }
    if (origin === serverName) throw unauthorized("Origin is this server itself");
    return { origin, credentials };
  }
}

/** Registers endpoints under `/_matrix/federation` that only servers may call. */
export function signed(app: App, auth: FederationAuth): SignedRegistrar {
  const registrar = plain(app, "/_matrix/federation");
  function add(method: Lowercase<Extract<Method, "GET" | "POST" | "PUT">>): SignedRegistrar["get"] {
    return (path, handler, options = {}) => {
      registrar[method](path, (c) => auth.answer(c, { handler, options }));
      return self;
    };
  }
  const self: SignedRegistrar = { get: add("get"), post: add("post"), put: add("put") };
  return self;
}

/** Returns the path and the query exactly as they were sent. */
function targetOf(url: string): string {
  const scheme = url.indexOf("://");
  const start = url.indexOf("/", scheme < 0 ? 0 : scheme + 3);
  return start < 0 ? "/" : url.slice(start);
}

function readObject(bytes: Uint8Array): JsonObject {
  let value: unknown;
  try {
    value = parseJsonStrict(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), { numbers: "exact" });
  } catch {
    throw notJson();
  }
  if (!isJsonObject(value)) throw badJson("Content must be a JSON object");
  return value;
}

function canonicalText(body: JsonObject): string {
  try {
    return canonicalJson(body, { lax: true });
  } catch (error) {
    if (error instanceof CanonicalJsonError) throw badJson(error.message);
    throw error;
  }
}

function refuse(outcome: Exclude<RequestSignature, "good">, origin: ServerName): never {
  throw unauthorized(
    outcome === "no key"
      ? `The signing key of "${origin}" cannot be found or is not valid now`
      : `The signature of "${origin}" is not good`,
  );
}

function unauthorized(message: string): MatrixError {
  return new MatrixError(401, "M_UNAUTHORIZED", message);
}
