/**
 * The proxies for what is fetched from the web at large: push gateways and pages that are previewed. `http_proxy` gets
 * requests for `http:` with the whole URL, `https_proxy` opens tunnels; hosts in `no_proxy_hosts` are reached directly.
 *
 * A proxy resolves names itself, so addresses behind names cannot be judged here. Whoever asks judges literal ones.
 */
import type { Config } from "../config/config.ts";
import { StartupError } from "../lib/startup_error.ts";
import { type Dispatcher, loadProxyAgent } from "../lib/undici.ts";
import { bypassesProxy, parseProxy, type Proxy } from "./proxy.ts";

const MAX_CONNECTIONS = 16;
const KEEP_ALIVE_MS = 30_000;

/** Which proxy a URL is reached through. */
export class WebProxies implements AsyncDisposable {
  readonly #byProtocol: ReadonlyMap<string, Proxy>;
  readonly #noProxyHosts: readonly string[];
  readonly #agents = new Map<string, Promise<Dispatcher>>();

  /** Throws `StartupError` where an option is not the URL of a proxy. */
  constructor(
    { httpProxy, httpsProxy, noProxyHosts }: Pick<Config["server"], "httpProxy" | "httpsProxy" | "noProxyHosts">,
  ) {
    const proxies = [["http:", proxyOf("http_proxy", httpProxy)], [
      "https:",
      proxyOf("https_proxy", httpsProxy),
    ]] as const;
    this.#byProtocol = new Map(proxies.flatMap(([protocol, proxy]) => proxy === null ? [] : [[protocol, proxy]]));
    this.#noProxyHosts = noProxyHosts;
  }

  /** Returns what sends requests for such a URL through its proxy; null where it is reached directly. */
  async dispatcherFor({ protocol, hostname }: URL): Promise<Dispatcher | null> {
    const proxy = this.#byProtocol.get(protocol);
    const host = hostname.replace(/^\[|\]$/g, "");
    if (proxy === undefined || bypassesProxy(host, this.#noProxyHosts)) return null;
    let agent = this.#agents.get(protocol);
    if (agent === undefined) this.#agents.set(protocol, agent = openAgent(proxy));
    return await agent;
  }

  /** Ends the requests under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const agent of this.#agents.values()) await (await agent).destroy();
  }
}

/** Returns the proxy that an option names, or null where it names none. Throws `StartupError`. */
export function proxyOf(option: "http_proxy" | "https_proxy", value: string | null): Proxy | null {
  if (value === null) return null;
  const proxy = parseProxy(value);
  if (proxy === null) throw new StartupError(`"${option}" is not the URL of an HTTP proxy`);
  return proxy;
}

async function openAgent({ host, port, authorization }: Proxy): Promise<Dispatcher> {
  const ProxyAgent = await loadProxyAgent();
  return new ProxyAgent({
    uri: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
    ...(authorization === null ? {} : { token: authorization }),
    // Of `https:` alone: proxies as a rule let nobody tunnel to the ports of plain HTTP.
    proxyTunnel: false,
    connections: MAX_CONNECTIONS,
    allowH2: false,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
  });
}
