/** Where the server listens: whether it answers there, or could. */
import type { Config } from "../../config/config.ts";
import type { ListenerConfig } from "../../config/listeners.ts";
import { fail, type Finding, ok, reasonText, warn } from "./finding.ts";
import type { Web } from "./web.ts";

const ANY_ADDRESS: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);
/** Listeners that other machines may reach without TLS: a proxy in a container beside this one needs that. */
const PROXIED = "a firewall, or bind_addresses: ['127.0.0.1'], keeps others from going around the proxy";

/** Looks at every listener. */
export async function checkListeners(config: Config, web: Web): Promise<Finding[]> {
  if (config.listeners.length === 0) {
    return [
      fail("listener", { message: "there are no listeners", advice: "add one to `listeners`: port 8008, type http" }),
    ];
  }
  const findings: Finding[] = [];
  for (const listener of config.listeners) {
    if (listener.path !== null) continue;
    for (const address of listener.bindAddresses) findings.push(await checkAddress(listener, { address, web }));
    if (!listener.tls && listener.bindAddresses.some((address) => ANY_ADDRESS.has(address))) {
      findings.push(warn("listener", {
        message: `port ${listener.port} takes connections without TLS from everywhere`,
        advice: PROXIED,
      }));
    }
  }
  return findings;
}

async function checkAddress(
  { port, tls, type }: ListenerConfig,
  { address, web }: { address: string; web: Web },
): Promise<Finding> {
  const host = address === "0.0.0.0" ? "127.0.0.1" : address === "::" ? "::1" : address;
  const place = `${address} port ${port}`;
  if (port === null) return ok("listener", place);
  const shown = host.includes(":") ? `[${host}]` : host;
  try {
    const path = type === "metrics" ? "/_synapse/metrics" : "/health";
    const reply = await web({ url: `${tls ? "https" : "http"}://${shown}:${port}${path}` });
    if (reply.status === 200) return ok("listener", `the server answers on ${place}`);
    return fail("listener", {
      message: `another program answers on ${place} (status ${reply.status} for ${path})`,
      advice: "end that program, or change the port",
    });
  } catch (error) {
    const message = reasonText(error);
    // The certificate is for the public name and looked at on its own.
    if (tls && /certificate|altnames|self.signed/i.test(message)) return ok("listener", `TLS on ${place}`);
    return await tryToListen({ address, port, place });
  }
}

async function tryToListen(
  { address, port, place }: { address: string; port: number; place: string },
): Promise<Finding> {
  try {
    Deno.listen({ hostname: address, port }).close();
    return await Promise.resolve(ok("listener", `${place} is free; the server does not run`));
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) {
      return fail("listener", {
        message: `another program has ${place}`,
        advice: `find it by \`ss -ltnp sport = :${port}\` and end it, or change the port`,
      });
    }
    const advice = error instanceof Deno.errors.PermissionDenied
      ? "ports below 1024 need AmbientCapabilities=CAP_NET_BIND_SERVICE in the service unit, or a proxy in front"
      : "correct bind_addresses";
    return fail("listener", { message: `cannot listen on ${place}: ${reasonText(error)}`, advice });
  }
}
