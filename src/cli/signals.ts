/** Signals by which an operator or a service manager speaks to the server. */

/** What happens on `SIGHUP`. */
export interface SignalHandlers {
  readonly onReload: () => Promise<void>;
}

/**
 * Resolves with the first `SIGTERM` or `SIGINT`, once no reload is under way any more. Reloads happen one after another.
 *
 * A second one while the server stops ends the process at once.
 */
export function waitForStop({ onReload }: SignalHandlers): Promise<Deno.Signal> {
  return new Promise((resolve) => {
    let isStopping = false;
    let reloading = Promise.resolve();
    const stop = (signal: Deno.Signal) => {
      if (isStopping) Deno.exit(130);
      isStopping = true;
      void reloading.finally(() => resolve(signal));
    };
    for (const signal of ["SIGTERM", "SIGINT"] as const) Deno.addSignalListener(signal, () => stop(signal));
    Deno.addSignalListener("SIGHUP", () => {
      reloading = reloading.then(onReload);
    });
  });
}
