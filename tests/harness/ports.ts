/**
 * Below the ports that systems give to outgoing connections: one of those may take a port between its being chosen and
 * its being bound, and while a server restarts.
 */
const FIRST_PORT = 16_000;
/** Each process walks through a range of its own, as far as process ids tell them apart. */
const PORTS_A_PROCESS = 100;
const RANGES = 160;
let walked = 0;

/** Returns a TCP port of the loopback address that nothing listens on. */
export function freePort(): number {
  const base = FIRST_PORT + (Deno.pid % RANGES) * PORTS_A_PROCESS;
  for (let tries = 0; tries < PORTS_A_PROCESS; tries++) {
    const port = base + walked++ % PORTS_A_PROCESS;
    try {
      using _listener = Deno.listen({ hostname: "127.0.0.1", port });
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  throw new Error(`All ports from ${base} on are taken`);
}

/** Resolves as soon as something accepts connections on the port; rejects after `timeoutMs`. */
export async function waitForPort(port: number, { timeoutMs = 20_000, hostname = "127.0.0.1" } = {}): Promise<void> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    try {
      (await Deno.connect({ hostname, port })).close();
      return;
    } catch (error) {
      if (performance.now() > end) throw new Error(`nothing listens on ${hostname}:${port}`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
