/**
 * What a service manager is told about the server: systemd's notification protocol (sd_notify(3)), so that a unit can
 * have `Type=notify` and `WatchdogSec`. Without a service manager every call does nothing.
 */
import type { Clock } from "./clock.ts";

/** What speaking to the service manager takes. */
export interface ServiceManagerDeps {
  readonly clock: Clock;
  /** Reads an environment variable. */
  readonly env: (name: string) => string | undefined;
}

/** Counts the sockets of this process, whose paths have to differ. */
let opened = 0;

/** The service manager that started this process, if one did and wants to be told. */
export class ServiceManager implements Disposable {
  readonly #deps: ServiceManagerDeps;
  readonly #target: string | null;
  readonly #watchdogMs: number | null;
  readonly #ended = new AbortController();
  #socket: Deno.DatagramConn | null = null;

  constructor(deps: ServiceManagerDeps) {
    this.#deps = deps;
    this.#target = socketPath(deps.env("NOTIFY_SOCKET"));
    this.#watchdogMs = watchdogInterval(deps.env);
  }

  /** The server answers requests. From now on the watchdog is kept from acting, as long as the event loop turns. */
  async ready(): Promise<void> {
    await this.#send("READY=1\nSTATUS=Serving");
    if (this.#watchdogMs !== null) void this.#keepAlive(this.#watchdogMs);
  }

  /** A reload begins; it ends with `reloaded`. */
  async reloading(): Promise<void> {
    await this.#send("RELOADING=1\nSTATUS=Reloading");
  }

  async reloaded(): Promise<void> {
    await this.#send("READY=1\nSTATUS=Serving");
  }

  async stopping(): Promise<void> {
    await this.#send("STOPPING=1\nSTATUS=Stopping");
  }

  [Symbol.dispose](): void {
    this.#ended.abort();
    this.#socket?.close();
    this.#socket = null;
  }

  /** Reports twice in each interval, as sd_watchdog_enabled(3) recommends. */
  async #keepAlive(intervalMs: number): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      await this.#send("WATCHDOG=1");
      await this.#deps.clock.sleep(intervalMs / 2, signal);
    }
  }

  /** A service manager that cannot be reached is its own problem: the server goes on. */
  async #send(message: string): Promise<void> {
    if (this.#target === null || this.#ended.signal.aborted) return;
    try {
      // A datagram socket needs a name of its own here; an abstract one leaves no file behind.
      this.#socket ??= Deno.listenDatagram({
        transport: "unixpacket",
        path: `\0synapse-ts-notify-${Deno.pid}-${++opened}`,
      });
      await this.#socket.send(new TextEncoder().encode(message), { transport: "unixpacket", path: this.#target });
    } catch {
      this.#socket?.close();
      this.#socket = null;
    }
  }
}

/** Returns where to send to; "@" stands for the zero byte of an abstract socket. */
function socketPath(value: string | undefined): string | null {
  if (value === undefined || !/^[/@]/.test(value)) return null;
  return value.startsWith("@") ? `\0${value.slice(1)}` : value;
}

/** Returns the watchdog's interval in milliseconds when it watches this very process. */
function watchdogInterval(env: (name: string) => string | undefined): number | null {
  const microseconds = Number(env("WATCHDOG_USEC"));
  const pid = env("WATCHDOG_PID");
  if (!Number.isSafeInteger(microseconds) || microseconds <= 0) return null;
  return pid === undefined || pid === String(Deno.pid) ? microseconds / 1_000 : null;
}
