/** The HTTP client for other servers, loaded at its first use: it takes 25 MB, which a server without peers can keep. */
export type { Agent, buildConnector, Dispatcher, Pool } from "undici";

/** Returns the module. */
export function loadUndici(): Promise<typeof import("undici")> {
  return import("undici");
}
