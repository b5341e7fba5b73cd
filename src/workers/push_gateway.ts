/**
 * Requests to push gateways. Spec: Push Gateway API, `POST /_matrix/push/v1/notify`.
 *
 * Users choose the addresses, so each connection is judged by the address it is made to: `ip_range_blacklist` holds for
 * literals and for every resolved address alike, and redirects are not followed. Behind a proxy it holds for literals.
 */
import { isIP, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { type Agent, type buildConnector, loadUndici } from "../lib/undici.ts";
import { RequestTallies } from "../lib/tally.ts";
import { openSocket, readBody } from "../federation/connections.ts";
import type { Dns } from "../federation/dns.ts";
import type { IpPolicy } from "../federation/ip_policy.ts";
import type { WebProxies } from "../federation/web_proxies.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";

/** What requests are made with. */
export interface PushGatewaysDeps {
  readonly dns: Pick<Dns, "lookup">;
  readonly ipPolicy: IpPolicy;
  readonly proxies: WebProxies;
  readonly userAgent: string;
}

const TIMEOUT_MS = 30_000;
const TLS_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;
const MAX_CONNECTIONS = 16;
const MAX_ANSWER_BYTES = 262_144;
const MAX_ADDRESSES = 4;

/** Sends notifications to gateways. */
export class PushGateways implements AsyncDisposable {
  readonly counts = new RequestTallies();
  readonly #deps: PushGatewaysDeps;
  #agent: Promise<Agent> | null = null;

  constructor(deps: PushGatewaysDeps) {
    this.#deps = deps;
  }

  /** Sends a notification; returns the push keys that the gateway rejects. Throws when it was not taken. */
  async notify(url: string, notification: JsonObject): Promise<string[]> {
    const target = new URL(url);
    const { origin, pathname, search } = target;
    const dispatcher = await this.#deps.proxies.dispatcherFor(target) ?? await (this.#agent ??= this.#openAgent());
    this.#assertLiteralAllowed(target);
    this.counts.requests.add(["POST"]);
    const answer = await dispatcher.request({
      ...{ origin, path: pathname + search },
      method: "POST",
      headers: { "content-type": "application/json", "user-agent": this.#deps.userAgent },
      body: JSON.stringify({ notification }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    this.counts.responses.add(["POST", String(answer.statusCode)]);
    const body = await readBody(answer.body, MAX_ANSWER_BYTES);
    if (answer.statusCode < 200 || answer.statusCode > 299) {
      throw new Error(`The push gateway answered with status ${answer.statusCode}`);
    }
    const value: unknown = JSON.parse(new TextDecoder().decode(body));
    const rejected = isJsonObject(value) && Array.isArray(value.rejected) ? value.rejected : [];
    return rejected.filter((key) => typeof key === "string");
  }

  /** Ends the requests under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#agent)?.destroy();
    await this.#deps.proxies[Symbol.asyncDispose]();
  }

  /** The connector judges every address; behind a proxy only those that stand in the URL can be. */
  #assertLiteralAllowed({ hostname }: URL): void {
    const host = hostname.replace(/^\[|\]$/g, "");
    if (isIP(host) === 0 || this.#deps.ipPolicy.allows(host)) return;
    throw new Error("The address of the push gateway is not allowed");
  }

  async #openAgent(): Promise<Agent> {
    const { Agent } = await loadUndici();
    return new Agent({
      connections: MAX_CONNECTIONS,
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      connect: (options, callback) => {
        this.#connect(options).then(
          (socket) => callback(null, socket),
          (error) => callback(error instanceof Error ? error : new Error(String(error)), null),
        );
      },
    });
  }

  async #connect({ hostname, port, protocol }: buildConnector.Options): Promise<Socket | TLSSocket> {
    const host = hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
    const isSecure = protocol === "https:";
    const addresses = isIP(host) === 0 ? await this.#deps.dns.lookup(host) : [host];
    const allowed = addresses.filter((address) => this.#deps.ipPolicy.allows(address)).slice(0, MAX_ADDRESSES);
    let failure: unknown = new Error("The address of the push gateway is not allowed");
    for (const address of allowed) {
      try {
        const socket = await openSocket(address, port === "" ? (isSecure ? 443 : 80) : Number(port));
        return isSecure ? await secure(socket, host) : socket;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }
}

function secure(socket: Socket, host: string): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secured = connectTls({
      socket,
      host,
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ALPNProtocols: ["http/1.1"],
    });
    const timer = setTimeout(() => fail(new Error("TLS handshake timed out")), TLS_TIMEOUT_MS);
    const fail = (error: Error) => {
      clearTimeout(timer);
      secured.destroy();
      socket.destroy();
      reject(error);
    };
    secured.once("error", fail);
    secured.once("secureConnect", () => {
      clearTimeout(timer);
      secured.off("error", fail);
      resolve(secured);
    });
  });
}
