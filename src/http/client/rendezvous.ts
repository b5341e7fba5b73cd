/**
 * Where a new and an old device meet for sign-in by QR code.
 *   MSC4108: POST /_matrix/client/unstable/org.matrix.msc4108/rendezvous,
 *            GET, PUT and DELETE /_synapse/client/rendezvous/{id}, which the former names as a URL
 *   MSC4388: GET and POST /_matrix/client/unstable/io.element.msc4388/rendezvous, GET, PUT and DELETE …/{id}
 */
import { z } from "zod";
import { forbidden, invalidParam, MatrixError, missingParam, tooLarge } from "../../protocol/errors.ts";
import { MAX_RENDEZVOUS_BYTES, type RendezvousSession, type RendezvousSessions } from "../../services/rendezvous.ts";
import { type App, client, type Ctx, plain } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readBytes, readJson } from "../middleware/body.ts";
import { pathText } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface RendezvousRoutesDeps {
  readonly auth: Auth;
  /** MSC4108: sessions of this server, the address of another server, or null when it is not offered. */
  readonly byTag: RendezvousSessions<Uint8Array<ArrayBuffer>> | string | null;
  /** With a slash at the end. */
  readonly publicBaseurl: string;
  /** MSC4388: null when it is not offered. */
  readonly byToken: { readonly sessions: RendezvousSessions<string>; readonly needsAccount: boolean } | null;
}

const TAGGED_PATH = "_synapse/client/rendezvous";

/** Registers the endpoints that the configuration switches on. */
export function rendezvousRoutes(app: App, { auth, byTag, publicBaseurl, byToken }: RendezvousRoutesDeps): void {
  if (typeof byTag === "string") delegatedRoutes(app, byTag);
  else if (byTag !== null) taggedRoutes(app, { sessions: byTag, base: `${publicBaseurl}${TAGGED_PATH}/` });
  if (byToken !== null) tokenRoutes(app, { auth, ...byToken });
}

function delegatedRoutes(app: App, location: string): void {
  const headers = [["location", location]] as const;
  client(app, ["unstable/org.matrix.msc4108"]).post("/rendezvous", () => json({}, { status: 307, headers }));
}

type Tagged = RendezvousSession<Uint8Array<ArrayBuffer>>;

function taggedRoutes(
  app: App,
  { sessions, base }: { sessions: RendezvousSessions<Uint8Array<ArrayBuffer>>; base: string },
): void {
  client(app, ["unstable/org.matrix.msc4108"]).post("/rendezvous", async (c) => {
    const session = sessions.create(await readPlainText(c));
    return tagged(session, { status: 201, type: "application/json", body: JSON.stringify({ url: base + session.id }) });
  });
  plain(app, `/${TAGGED_PATH}`)
    .get("/:id", (c) => {
      const session = sessions.get(pathText(c, "id"));
      if (c.req.header("if-none-match") === tagOf(session)) return tagged(session, { status: 304 });
      return tagged(session, { status: 200, type: "text/plain", body: session.data });
    })
    .put("/:id", async (c) => {
      const id = pathText(c, "id");
      const token = requiredTag(c);
      const session = sessions.replace(id, { token, data: await readPlainText(c) });
      return session === null ? changedMeanwhile(sessions.get(id)) : tagged(session, { status: 202 });
    })
    .delete("/:id", (c) => {
      sessions.delete(pathText(c, "id"));
      return new Response(null, { status: 204 });
    });
}

async function readPlainText(c: Ctx): Promise<Uint8Array<ArrayBuffer>> {
  if (c.req.header("content-length") === undefined) throw missingParam("Content-Length");
  const type = c.req.header("content-type");
  if (type === undefined) throw missingParam("Content-Type");
  if (!/^text\/plain *(;|$)/i.test(type)) throw invalidParam("Content-Type must be text/plain");
  return new Uint8Array(await readBytes(c, MAX_RENDEZVOUS_BYTES));
}

/** Returns the token in `If-Match`, which must be one strong tag. */
function requiredTag(c: Ctx): string {
  const header = c.req.header("if-match");
  if (header === undefined) throw missingParam("If-Match");
  const token = /^"([^"]*)"$/.exec(header.trim())?.[1];
  if (token === undefined) throw invalidParam("If-Match must be one strong entity tag");
  return token;
}

function tagOf({ token }: Tagged): string {
  return `"${token}"`;
}

function tagged(
  session: Tagged,
  { status, type, body = null }: { status: number; type?: string; body?: BodyInit | null },
): Response {
  return new Response(body, {
    status,
    headers: {
      "etag": tagOf(session),
      "expires": new Date(session.expiresTs).toUTCString(),
      "last-modified": new Date(session.modifiedTs).toUTCString(),
      "cache-control": "no-store",
      "pragma": "no-cache",
      "x-content-type-options": "nosniff",
      "access-control-expose-headers": "ETag",
      ...(type === undefined ? {} : { "content-type": type }),
    },
  });
}

function changedMeanwhile(session: Tagged): Response {
  const extra = { "org.matrix.msc4108.errcode": "M_CONCURRENT_WRITE" };
  const error = new MatrixError(412, "M_UNKNOWN", "ETag does not match", extra);
  return tagged(session, { status: 412, type: "application/json", body: JSON.stringify(error) });
}

const DataBody = z.looseObject({ data: z.string() });
const WriteBody = z.looseObject({ sequence_token: z.string(), data: z.string() });

function tokenRoutes(
  app: App,
  { auth, sessions, needsAccount }: { auth: Auth; sessions: RendezvousSessions<string>; needsAccount: boolean },
): void {
  const mayCreate = needsAccount ? auth.user() : () => {};
  client(app, ["unstable/io.element.msc4388"])
    .get("/rendezvous", mayCreate, () => json({ create_available: true }))
    .post("/rendezvous", mayCreate, async (c) => {
      const session = sessions.create(bounded((await readJson(c, DataBody)).data));
      return json({ id: session.id, sequence_token: session.token, expires_in_ms: sessions.timeLeft(session) });
    })
    .get("/rendezvous/:id", (c) => {
      refuseNavigation(c);
      const session = sessions.get(pathText(c, "id"));
      const { data, token } = session;
      return json({ data, sequence_token: token, expires_in_ms: sessions.timeLeft(session) });
    })
    .put("/rendezvous/:id", async (c) => {
      const id = pathText(c, "id");
      const { sequence_token: token, data } = await readJson(c, WriteBody);
      const session = sessions.replace(id, { token, data: bounded(data) }) ?? sessions.get(id);
      // A repeated request, whose answer was lost, is as good as the first.
      if (session.data === data) return json({ sequence_token: session.token });
      throw new MatrixError(409, "IO_ELEMENT_MSC4388_CONCURRENT_WRITE", "The session was written meanwhile");
    })
    .delete("/rendezvous/:id", (c) => {
      sessions.delete(pathText(c, "id"));
      return json({});
    });
}

const encoder = new TextEncoder();

function bounded(data: string): string {
  if (encoder.encode(data).length > MAX_RENDEZVOUS_BYTES) throw tooLarge("The data is too large");
  return data;
}

/** What anybody may have written must not be shown as a page of this server. */
function refuseNavigation(c: Ctx): void {
  const isNavigation = c.req.header("sec-fetch-mode") === "navigate" || c.req.header("sec-fetch-dest") === "document";
  if (isNavigation) throw forbidden("Sessions are not to be opened as pages");
}
