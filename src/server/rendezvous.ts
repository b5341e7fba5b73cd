/** Sign-in by QR code, as far as `experimental_features` switches it on. */
import type { App } from "../http/app.ts";
import { rendezvousRoutes } from "../http/client/rendezvous.ts";
import type { Auth } from "../http/middleware/auth.ts";
import { RendezvousSessions } from "../services/rendezvous.ts";
import type { Core } from "./core.ts";

/** As Synapse has them. */
const TAGGED = { lifetimeMs: 60_000, maxSessions: 100 };
const TOKENED = { lifetimeMs: 120_000, maxSessions: 200 };

/** Which forms of it are offered. */
export interface RendezvousModes {
  /** MSC4108: here, at another server's address, or not at all. */
  readonly msc4108: "here" | { readonly location: string } | null;
  /** MSC4388: who may create sessions; null for nobody. */
  readonly msc4388: "open" | "authenticated" | null;
}

/** Returns what the configuration says. */
export function rendezvousModes({ experimental: { experimentalFeatures } }: Core["config"]): RendezvousModes {
  const { msc4108_delegation_endpoint: location, msc4388_mode: mode } = experimentalFeatures.features;
  const here = experimentalFeatures.isEnabled("msc4108_enabled") ? "here" : null;
  return {
    msc4108: typeof location === "string" && location !== "" ? { location } : here,
    msc4388: mode === "open" || mode === "authenticated" ? mode : null,
  };
}

/** Registers the endpoints. */
export function rendezvousParts(app: App, { core: { config, clock }, auth }: { core: Core; auth: Auth }): void {
  const { msc4108, msc4388 } = rendezvousModes(config);
  const byTag = msc4108 === "here" ? new RendezvousSessions<Uint8Array<ArrayBuffer>>({ clock, ...TAGGED }) : null;
  rendezvousRoutes(app, {
    auth,
    publicBaseurl: config.publicBaseurl,
    byTag: byTag ?? (msc4108 === null || msc4108 === "here" ? null : msc4108.location),
    byToken: msc4388 === null ? null : {
      sessions: new RendezvousSessions<string>({ clock, ...TOKENED }),
      needsAccount: msc4388 === "authenticated",
    },
  });
}
