/** Signals by which an operator or a service manager speaks to the server. */

/** What happens on `SIGHUP`. */
export interface SignalHandlers {
  readonly onReload: () => Promise<void>;
}

/**
 * Resolves with the first `SIGTERM` or `SIGINT`.
 *
 * A second one while the server stops ends the process at once.
 */
export function waitForStop({ onReload }: SignalHandlers): Promise<Deno.Signal> {
  return new Promise((resolve) => {
    let isStopping = false;
    const stop = (signal: Deno.Signal) => {
      if (isStopping) Deno.exit(130);
      isStopping = true;
      resolve(signal);
    };
    for (const signal of ["SIGTERM", "SIGINT"] as const) Deno.addSignalListener(signal, () => stop(signal));
    Deno.addSignalListener("SIGHUP", () => void onReload());
  });
}
