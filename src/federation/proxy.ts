/** Tunnels through an HTTP proxy (RFC 9110, CONNECT): `https_proxy` and `no_proxy_hosts`. */
import { Buffer } from "node:buffer";
import { connect, isIP, type Socket } from "node:net";

/** A proxy that connections go through. */
export interface Proxy {
  readonly host: string;
  readonly port: number;
  /** The value of `Proxy-Authorization`. Secret. */
  readonly authorization: string | null;
}

const TIMEOUT_MS = 30_000;
const MAX_HEADER_BYTES = 16_384;
const HEADER_END = "\r\n\r\n";

/** Returns the proxy of a URL such as `http://user:secret@proxy:3128`; null when it is not one. */
export function parseProxy(text: string): Proxy | null {
  const url = URL.parse(text.includes("://") ? text : `http://${text}`);
  if (url === null || url.protocol !== "http:" || url.hostname === "") return null;
  const login = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? 80 : Number(url.port),
    authorization: url.username === "" ? null : `Basic ${Buffer.from(login).toString("base64")}`,
  };
}

/** Tells whether a host is reached without the proxy: it is listed, below a listed domain, or `*` is listed. */
export function bypassesProxy(host: string, noProxyHosts: readonly string[]): boolean {
  const name = host.toLowerCase();
  return noProxyHosts.some((listed) => {
    const entry = listed.trim().toLowerCase().replace(/^\*?\./, "");
    if (listed.trim() === "*") return true;
    return entry !== "" && (name === entry || (isIP(name) === 0 && name.endsWith(`.${entry}`)));
  });
}

/** Opens a connection to `host` and `port` as the proxy sees them. Rejects when the proxy refuses. */
export function tunnel(proxy: Proxy, { host, port }: { host: string; port: number }): Promise<Socket> {
  const target = isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
  return new Promise((resolve, reject) => {
    // Errors after the tunnel is open are noticed by the TLS connection in it.
    const socket = connect({ host: proxy.host, port: proxy.port }).on("error", () => {});
    let received = Buffer.alloc(0);
    const timer = setTimeout(() => fail(new Error("The proxy did not answer in time")), TIMEOUT_MS);
    function fail(error: Error): void {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    }
    function onData(chunk: Uint8Array): void {
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf(HEADER_END);
      if (end < 0) {
        if (received.length > MAX_HEADER_BYTES) fail(new Error("The answer of the proxy is too long"));
        return;
      }
      const status = /^HTTP\/1\.[01] (\d{3})/.exec(received.toString("latin1"))?.[1];
      if (status?.startsWith("2") !== true) {
        return fail(new Error(`The proxy refused with status ${status ?? "unknown"}`));
      }
      clearTimeout(timer);
      socket.off("error", fail).off("data", onData).off("end", onEnd);
      socket.pause();
      const rest = received.subarray(end + HEADER_END.length);
      if (rest.length > 0) socket.unshift(rest);
      resolve(socket);
    }
    const onEnd = () => fail(new Error("The proxy closed the connection"));
    socket.on("error", fail).on("data", onData).on("end", onEnd);
    socket.once("connect", () => {
      const login = proxy.authorization === null ? "" : `Proxy-Authorization: ${proxy.authorization}\r\n`;
      socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${login}\r\n`);
    });
  });
}
