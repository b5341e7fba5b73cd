/** Returns a TCP port of the loopback address that nothing listens on; the caller should bind it at once. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
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
