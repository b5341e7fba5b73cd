/** A reverse proxy with TLS for tests of the doctor, which can be wrong in the ways proxies are. */
import { makeCertificate } from "../federation/certificates.ts";

/** What is wrong with it. */
export interface FrontFaults {
  /** The names of its certificate. */
  readonly names?: readonly string[];
  /** Decodes paths before it passes them on. */
  readonly decodesPaths?: boolean;
  /** Refuses uploads. */
  readonly refusesUploads?: boolean;
  /** Documents in place of the server's, by host and path; null is 404. */
  readonly documents?: Readonly<Record<string, unknown>>;
  readonly withoutCors?: boolean;
  /** How far its clock is off, in milliseconds. */
  readonly skewMs?: number;
}

/** A running proxy. */
export interface Front extends AsyncDisposable {
  readonly port: number;
}

/** Starts one in front of the server at `base`. */
export async function startFront(base: string, faults: FrontFaults = {}): Promise<Front> {
  const names = faults.names ?? ["DNS:hs.test", "DNS:matrix.hs.test", "DNS:keys.test"];
  const { cert, key } = await makeCertificate(...names);
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", cert, key, onListen: () => {} },
    (request) => answer(request, { base, faults }),
  );
  return { port: server.addr.port, [Symbol.asyncDispose]: () => server.shutdown() };
}

async function answer(request: Request, { base, faults }: { base: string; faults: FrontFaults }): Promise<Response> {
  const url = new URL(request.url);
  const headers = new Headers({ date: new Date(Date.now() + (faults.skewMs ?? 0)).toUTCString() });
  if (faults.withoutCors !== true) headers.set("access-control-allow-origin", "*");
  const document = faults.documents?.[`${url.hostname}${url.pathname}`];
  if (document === null) return new Response("not here", { status: 404, headers });
  if (document !== undefined) return Response.json(document, { headers });
  if (request.method === "POST") {
    const status = faults.refusesUploads === true ? 413 : 401;
    return new Response(null, { status, headers: { connection: "close" } });
  }
  const path = faults.decodesPaths === true ? decodeURIComponent(url.pathname) : url.pathname;
  const passed = await fetch(`${base}${path.replaceAll("#", "%23")}`, { headers: { host: url.host } });
  headers.set("content-type", passed.headers.get("content-type") ?? "text/plain");
  return new Response(await passed.text(), { status: passed.status, headers });
}
