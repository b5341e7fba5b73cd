/** Requests as somebody outside would make them: by the public name, with the certificate checked and kept. */
import { X509Certificate } from "node:crypto";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { Dns } from "../../federation/dns.ts";
import { type Dispatcher, loadUndici } from "../../lib/undici.ts";

/** An answer. */
export interface WebReply {
  readonly status: number;
  readonly header: (name: string) => string | null;
  readonly body: string;
  /** Of TLS connections. */
  readonly certificate: { readonly notBefore: Date; readonly notAfter: Date } | null;
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
  readonly method: Dispatcher.HttpMethod;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly authorities: readonly string[];
}

async function exchange(task: Exchange): Promise<WebReply> {
  const { method, path, headers } = task;
  const { Client } = await loadUndici();
  let certificate: WebReply["certificate"] = null;
  // The origin only names the connection: the task says where it leads, and has the Host header.
  const client = new Client(task.isTls ? "https://doctor.invalid" : "http://doctor.invalid", {
    allowH2: false,
    connect: (_, callback) => {
      openSocket(task).then((socket) => {
        if ("getPeerCertificate" in socket) certificate = timesOf(socket);
        callback(null, socket);
      }, (error) => callback(error instanceof Error ? error : new Error(String(error)), null));
    },
  });
  const limit = setTimeout(() => client.destroy(new Error("no answer in 10 seconds")).catch(() => {}), TIMEOUT_MS);
  try {
    const response = await client.request({ method, path, headers });
    const header = (name: string) => {
      const value = response.headers[name];
      return (Array.isArray(value) ? value[0] : value) ?? null;
    };
    return { status: response.statusCode, header, body: await readBody(response.body), certificate };
  } finally {
    clearTimeout(limit);
    await client.destroy().catch(() => {});
  }
}

async function openSocket({ address, port, isTls, certName, authorities }: Exchange): Promise<Socket | TLSSocket> {
  const plain = connectTcp({ host: address, port });
  // undici listens for later errors itself; until then one must not end the program.
  await untilEvent(plain, "connect");
  if (!isTls) return plain;
  const secured = connectTls({
    socket: plain,
    host: certName,
    ...(isIP(certName) === 0 ? { servername: certName } : {}),
    ...(authorities.length === 0 ? {} : { ca: [...authorities] }),
    ALPNProtocols: ["http/1.1"],
  });
  plain.once("error", (error) => secured.destroy(error));
  try {
    return await untilEvent(secured, "secureConnect");
  } catch (error) {
    plain.destroy();
    throw error;
  }
}

function untilEvent<T extends Socket>(socket: T, event: "connect" | "secureConnect"): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => socket.destroy(new Error("no connection in 10 seconds")), TIMEOUT_MS);
    socket.on("error", reject);
    socket.once("close", () => reject(new Error("the connection was closed")));
    socket.once(event, () => resolve(socket));
    socket.once(event, () => clearTimeout(timer)).once("close", () => clearTimeout(timer));
  });
}

/** How long the certificate of the other side holds, where the connection tells. */
function timesOf(socket: TLSSocket): WebReply["certificate"] {
  // Null where the connection has closed already, whatever the types say.
  const peer: { readonly raw?: Uint8Array } | null = socket.getPeerCertificate();
  if (peer?.raw === undefined) return null;
  const { validFrom, validTo } = new X509Certificate(peer.raw);
  return { notBefore: new Date(validFrom), notAfter: new Date(validTo) };
}

async function readBody(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) throw new Error("the answer is far too long");
    chunks.push(chunk as Uint8Array<ArrayBuffer>);
  }
  return new TextDecoder().decode(await new Blob(chunks).arrayBuffer());
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
