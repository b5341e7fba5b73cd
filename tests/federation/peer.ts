/** A bare HTTPS server that stands for another homeserver and remembers what it was asked. */
import { createServer } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { makeCertificate, type TestCertificate } from "./certificates.ts";

/** A request as the peer saw it. */
export interface SeenRequest {
  readonly method: string;
  /** The path with the query. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** The TLS server name, or null where none was sent. */
  readonly sni: string | null;
}

/** What the peer answers; an object is sent as JSON. `hang` never answers. */
export interface PeerAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: unknown;
  readonly text?: string;
  readonly hang?: boolean;
  /** Closes the connection in place of an answer. */
  readonly drop?: boolean;
}

/** Decides what the peer answers. */
export type PeerHandler = (request: SeenRequest) => PeerAnswer | Promise<PeerAnswer>;

/** A running peer. */
export interface Peer extends AsyncDisposable {
  readonly port: number;
  readonly requests: readonly SeenRequest[];
  handler: PeerHandler;
}

/** How a peer is made. */
export interface PeerOptions {
  /** Subject alternative names of its certificate; `DNS:peer.test` unless given. */
  readonly names?: readonly string[];
  readonly handler?: PeerHandler;
  readonly maxTlsVersion?: "TLSv1.2" | "TLSv1.3";
  /** Where it listens; 127.0.0.1 unless given. */
  readonly address?: string;
  /** A free one unless given. */
  readonly port?: number;
  /** In place of one of its own. */
  readonly certificate?: TestCertificate;
}

/** Starts a peer on a port that the system chooses. */
export async function startPeer(
  { names = ["DNS:peer.test"], handler, maxTlsVersion, address = "127.0.0.1", port = 0, certificate }: PeerOptions = {},
): Promise<Peer> {
  const requests: SeenRequest[] = [];
  const own = certificate ?? await makeCertificate(...names);
  const options = { ...own, ...(maxTlsVersion ? { maxVersion: maxTlsVersion } : {}) };
  const server = createServer(options, (request, response) => void serve(request, response));
  const peer: Peer = {
    port: 0,
    requests,
    handler: handler ?? (() => ({ json: {} })),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A server that is stopped may leave in the middle of a request.
    const seen = await read(request).catch(() => null);
    if (seen === null) return void request.socket.destroy();
    requests.push(seen);
    const answer = await peer.handler(seen);
    if (answer.hang) return;
    if (answer.drop) return void request.socket.destroy();
    response.writeHead(answer.status ?? 200, { "content-type": "application/json", ...answer.headers });
    response.end(answer.text ?? JSON.stringify(answer.json ?? {}));
  }

  await new Promise<void>((resolve) => server.listen(port, address, () => resolve()));
  return Object.assign(peer, { port: (server.address() as AddressInfo).port });
}

async function read(request: IncomingMessage): Promise<SeenRequest> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(chunk as Uint8Array);
  const servername = (request.socket as unknown as { servername?: string | false }).servername;
  return {
    method: request.method ?? "",
    url: request.url ?? "",
    headers: request.headers as Record<string, string>,
    body: await new Blob(chunks as BlobPart[]).text(),
    sni: typeof servername === "string" ? servername : null,
  };
}
