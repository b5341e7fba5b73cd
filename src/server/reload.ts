/** What a running server takes over from a changed configuration (`SIGHUP`), and the files of it that it reads again. */
import { loadAppservices } from "../config/appservices.ts";
import type { Config } from "../config/config.ts";
import type { Listeners } from "../http/listeners.ts";
import { limitsOf } from "../services/rate_limits.ts";
import { scaleCaches } from "./caches.ts";
import { currentCertificate } from "./certificates.ts";
import type { Parts } from "./parts.ts";

/**
 * Takes over TLS certificates, cache sizes, rate limits and application services; all else needs a restart.
 *
 * Everything is read before anything is changed, so that a file that cannot be used changes nothing.
 */
export async function reload(
  config: Config,
  { parts, listeners }: { parts: Parts; listeners: Listeners },
): Promise<void> {
  const { accounts, federation, rooms, users } = parts;
  const certificate = await currentCertificate(config);
  const registrations = await loadAppservices(config.api.appServiceConfigFiles);
  if (certificate !== null) listeners.setCertificate(certificate);
  accounts.limits.setLimits(limitsOf(config.ratelimits));
  federation.limits.setOptions(config.ratelimits.rcFederation);
  scaleCaches(rooms, config.caching);
  await users.replaceServices(registrations);
}
