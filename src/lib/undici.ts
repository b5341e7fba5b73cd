/**
 * The HTTP client for other servers, loaded at its first use: a server without peers can keep that memory.
 *
 * Of the package only what makes requests. Its index loads all that browsers have on top of that (fetch, WebSocket, caches,
 * stand-ins for tests), which takes three times as long, and the event loop waits for it.
 */
import type * as Undici from "undici";
export type { Agent, buildConnector, Dispatcher, Pool } from "undici";

type Parts = Pick<typeof Undici, "Agent" | "Client" | "Pool">;

/** Returns what keeps connections and makes requests. */
export async function loadUndici(): Promise<Parts> {
  const { default: Dispatcher } = await import("undici/lib/dispatcher/dispatcher.js");
  const { default: request } = await import("undici/lib/api/api-request.js");
  const { default: Client } = await import("undici/lib/dispatcher/client.js");
  const { default: Pool } = await import("undici/lib/dispatcher/pool.js");
  const { default: Agent } = await import("undici/lib/dispatcher/agent.js");
  // As the index does.
  Object.assign(Dispatcher.prototype, { request });
  return { Agent, Client, Pool } as unknown as Parts;
}

/** Returns what makes requests through a proxy. */
export async function loadProxyAgent(): Promise<typeof Undici.ProxyAgent> {
  await loadUndici();
  const { default: ProxyAgent } = await import("undici/lib/dispatcher/proxy-agent.js");
  return ProxyAgent as unknown as typeof Undici.ProxyAgent;
}
