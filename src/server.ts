/**
 * The composition root: puts the server together, starts it and stops it.
 *
 * What is built is in `server/`: `core.ts` (database, key, streams), `parts.ts` (every service, once, with exactly what it
 * needs), `routes.ts` (all endpoints), `timers.ts` (what happens from time to time). It stops in reverse order: no new
 * requests, long-polls end, running requests finish, background work ends, the database closes.
 */
import type { Config } from "./config/config.ts";
import type { Dns } from "./federation/dns.ts";
import { acmeChallengeRoutes } from "./http/acme_challenges.ts";
import { Listeners } from "./http/listeners.ts";
import { type Clock, systemClock } from "./lib/clock.ts";
import { getLogger } from "./lib/log.ts";
import { openCertificates } from "./server/certificates.ts";
import { openCore } from "./server/core.ts";
import { startGauges } from "./server/gauges.ts";
import { buildParts, type Parts } from "./server/parts.ts";
import { reload } from "./server/reload.ts";
import { buildApp } from "./server/routes.ts";
import { observersOf, openTracing } from "./server/tracing.ts";
import { startTimers } from "./server/timers.ts";
import type { Database } from "./storage/database.ts";

/** What tests put in place of the real thing. A database given here is not closed by the server. */
export interface ServerOverrides {
  readonly clock?: Clock;
  readonly database?: Database;
  readonly dns?: Dns;
}

/** A running server. */
export interface RunningServer {
  /** Where it listens. */
  readonly addresses: readonly string[];
  readonly parts: Parts;
  /** Resolves when another process has taken the database: this one cannot go on. */
  readonly takenOver: Promise<void>;
  /** Takes over what may change while the server runs. Throws, with everything else as it was. */
  reload(config: Config): Promise<void>;
  /** Finishes running requests, ends long-polls and background work, and closes the database. */
  stop(): Promise<void>;
}

/** Running requests get this long to finish when the server stops. */
const STOP_GRACE_MS = 5_000;

/** Starts the server. Throws `StartupError` or `DatabaseStartupError` with a sentence for the operator. */
export async function startServer(config: Config, overrides: ServerOverrides = {}): Promise<RunningServer> {
  const clock = overrides.clock ?? systemClock;
  const { database } = overrides;
  const core = await openCore({ config, clock, ...(database === undefined ? {} : { database }) });
  try {
    const parts = await buildParts(core, overrides.dns === undefined ? {} : { dns: overrides.dns });
    await parts.accounts.validity?.start();
    await parts.accounts.limitOverrides.start();
    await parts.rooms.retention.load(core.db);
    const log = getLogger("synapse.access.http");
    const certificates = await openCertificates(core);
    const app = buildApp(parts);
    if (certificates.challenges !== null) acmeChallengeRoutes(app, certificates.challenges);
    const { hooks, metrics } = core.meters;
    const tracing = openTracing(core);
    const listeners = await Listeners.open({ app, clock, log, metrics, ...observersOf(core, tracing) }, {
      listeners: config.listeners,
      certificate: certificates.current,
    });
    certificates.keep(listeners, parts.stopping.signal);
    const timers = startTimers(parts);
    if (hooks !== null) startGauges(parts);
    await parts.accounts.userRooms.start();
    await parts.social.start();
    await parts.users.start();
    await parts.push.start();
    await parts.exchange.sender.start();
    await parts.exchange.partialRooms.resume();
    parts.administration.start();
    return {
      addresses: listeners.addresses,
      parts,
      takenOver: core.takenOver,
      reload: (next) => reload(next, { parts, listeners }),
      async stop() {
        const closed = listeners.stop(STOP_GRACE_MS);
        parts.stopping.abort();
        core.notifier.wakeAll();
        await closed;
        await tracing?.stop();
        await timers.stop();
        await parts[Symbol.asyncDispose]();
        if (database === undefined) await core.db[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    if (database === undefined) await core.db[Symbol.asyncDispose]();
    throw error;
  }
}
