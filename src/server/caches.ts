/** The sizes of the caches that matter, from `caches` and `event_cache_size`. */
import type { Config } from "../config/config.ts";

/** A cache that can be made bigger and smaller. */
interface Scalable {
  scaleCache(factor: number): void;
}

/** The caches, by what they hold. */
export interface ScalableCaches {
  readonly events: Scalable;
  readonly keys: Scalable;
  readonly renderer: Scalable;
  readonly trees: Scalable;
}

/** Synapse's default: caches have their usual size at this factor. */
const USUAL_FACTOR = 0.5;
const USUAL_EVENTS = 10 * 1024;
/** So that a factor of 0, which Synapse allows, does not make every read go to the disk. */
const MIN_FACTOR = 0.02;

/** The names of the caches in `caches.per_cache_factors`: ours, and those of Synapse that come closest. */
const NAMES: { readonly [K in keyof ScalableCaches]: readonly string[] } = {
  events: ["events", "getevent"],
  keys: ["statekeys"],
  renderer: ["renderedevents"],
  trees: ["statenodes", "stategroupcache", "stategroupmemberscache"],
};

/** Sets the size of each cache. */
export function scaleCaches(caches: ScalableCaches, { caches: options, eventCacheSize }: Config["caching"]): void {
  const own = new Map(Object.entries(options.perCacheFactors).map(([name, factor]) => [canonical(name), factor]));
  for (const key of ["events", "keys", "renderer", "trees"] as const) {
    const name = NAMES[key].find((candidate) => own.has(candidate));
    const factor = (name === undefined ? undefined : own.get(name)) ?? options.globalFactor;
    const size = key === "events" ? eventCacheSize / USUAL_EVENTS : 1;
    caches[key].scaleCache(Math.max(MIN_FACTOR, (factor / USUAL_FACTOR) * size));
  }
}

/** Names are compared by their letters and digits only, as in Synapse. */
function canonical(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, "");
}
