/** Requests as somebody outside would make them: by the public name, with the certificate checked and kept. */
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import type { DetailedPeerCertificate, TLSSocket } from "node:tls";
import type { Dns } from "../../federation/dns.ts";

/** An answer. */
export interface WebReply {
  readonly status: number;
  readonly header: (name: string) => string | null;
  readonly body: string;
  /** Of TLS connections. */
  readonly certificate: DetailedPeerCertificate | null;
}

/** A request. `target` is where to connect when that is not what the URL says. */
export interface WebRequest {
  readonly url: string;
  readonly method?: "GET" | "OPTIONS" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  readonly target?: { readonly host: string; readonly port: number; readonly certName: string };
}

/** What requests are made with. */
export interface WebDeps {
  readonly dns: Pick<Dns, "lookup">;
  /** Authorities trusted beside the system's. */
  readonly authorities: readonly string[];
  /** Where a port of the outside is, for tests. */
  readonly mapPort?: (host: string, port: number) => number;
}

/** Makes a request; rejects when there is no answer within bounds. */
export type Web = (request: WebRequest) => Promise<WebReply>;

const TIMEOUT_MS = 10_000;
const MAX_BODY_BYTES = 262_144;

/** Returns what makes requests. Redirects are not followed. */
export function openWeb({ dns, authorities, mapPort = (_, port) => port }: WebDeps): Web {
  return async ({ url: text, method = "GET", headers = {}, target }) => {
    const url = new URL(text);
    const isTls = url.protocol === "https:";
    const name = url.hostname.replace(/^\[|\]$/g, "");
    const host = target?.host ?? name;
    const port = target?.port ?? (url.port === "" ? (isTls ? 443 : 80) : Number(url.port));
    const [address] = await dns.lookup(host).catch(() => []);
    if (address === undefined) throw new Error(`the name ${host} has no address`);
    return await exchange({
      ...{ isTls, address, method, authorities },
      port: mapPort(host, port),
      certName: target?.certName ?? name,
      // As written: what the proxy makes of an encoded path is looked at.
      path: text.replace(/^https?:\/\/[^/?#]*/i, "") || "/",
      headers: { host: url.host, "user-agent": "synapse-ts doctor", ...headers },
    });
  };
}

interface Exchange {
  readonly isTls: boolean;
  readonly address: string;
  readonly port: number;
  readonly certName: string;
  readonly method: string;
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly authorities: readonly string[];
}

function exchange(task: Exchange): Promise<WebReply> {
  const { isTls, address, port, method, path, headers, certName, authorities } = task;
  return new Promise((resolve, reject) => {
    const common = { host: address, port, method, path, headers, agent: false as const };
    const isName = !/^[\d.]+$|:/.test(certName);
    const tls = {
      ...common,
      servername: isName ? certName : "",
      ...(authorities.length === 0 ? {} : { ca: [...authorities] }),
    };
    const request = isTls ? requestHttps(tls) : requestHttp(common);
    const timer = setTimeout(() => request.destroy(new Error("no answer in 10 seconds")), TIMEOUT_MS);
    const settle = (error: unknown) => {
      clearTimeout(timer);
      reject(error);
    };
    request.once("error", settle);
    request.once("response", (response) => {
      readReply(response).then((reply) => {
        clearTimeout(timer);
        resolve(reply);
      }, settle);
    });
    request.end();
  });
}

async function readReply(response: IncomingMessage): Promise<WebReply> {
  const { socket } = response;
  const certificate = "getPeerCertificate" in socket ? (socket as TLSSocket).getPeerCertificate(true) : null;
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) throw new Error("the answer is far too long");
    chunks.push(chunk);
  }
  const header = (name: string) => {
    const value = response.headers[name];
    return (Array.isArray(value) ? value[0] : value) ?? null;
  };
  const body = new TextDecoder().decode(await new Blob(chunks as Uint8Array<ArrayBuffer>[]).arrayBuffer());
  return { status: response.statusCode ?? 0, header, body, certificate };
}

/** Returns the JSON object of an answer, or null. */
export function jsonOf({ body }: WebReply): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? value as Record<string, unknown>
      : null;
  } catch {
    return null;
  }
}
