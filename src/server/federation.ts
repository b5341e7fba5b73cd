/** Federation: how other servers are reached, their keys, and what they may ask of us. */
import { BODY_BUDGET, BodyBudget } from "../http/federation/body_budget.ts";
import { keyRoutes } from "../http/federation/keys.ts";
import { OriginLimits } from "../http/federation/origin_limits.ts";
import { FederationAuth } from "../http/federation/signed.ts";
import { federationVersionRoutes } from "../http/federation/version.ts";
import type { App } from "../http/app.ts";
import { IdentityServers } from "../federation/identity_servers.ts";
import { KeyFetcher, type Notary } from "../federation/key_fetcher.ts";
import { KeyRing } from "../federation/key_ring.ts";
import { LocalKeys } from "../federation/local_keys.ts";
import { KeyNotary } from "../federation/notary.ts";
import { openFederation } from "../federation/setup.ts";
import { SignatureChecks } from "../federation/signature_checks.ts";
import type { Dns } from "../federation/dns.ts";
import type { Config } from "../config/config.ts";
import { userAgentOf } from "../config/user_agent.ts";
import { getLogger } from "../lib/log.ts";
import { reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";
import { parseServerName } from "../protocol/ids.ts";
import { parseSigningKeys, parseVerifyKey, type Signer } from "../protocol/signatures.ts";
import type { Core } from "./core.ts";

/** The parts of federation that do not depend on rooms. Closed with `connections`. */
export type FederationParts = Awaited<ReturnType<typeof buildFederation>>;

/** Builds them. `dns` takes the place of the machine's resolver. */
// deno-lint-ignore explicit-module-boundary-types -- the type is what is built
export async function buildFederation(core: Core, { dns }: { dns?: Dns } = {}) {
  const { config, db, clock, signer } = core;
  const out = await openFederation({ config, db, clock, signer, ...(dns === undefined ? {} : { dns }) });
  const { client, backoff, isAllowed } = out;
  const localKeys = new LocalKeys({
    ...{ signer, clock },
    oldKeys: config.signingKeys.oldSigningKeys,
    refreshIntervalMs: config.signingKeys.keyRefreshInterval,
  });
  const log = getLogger("synapse.federation.keys");
  const fetcher = new KeyFetcher({ client, notaries: notariesOf(config), log });
  const keyRing = new KeyRing({ serverName: config.serverName, db, clock, local: localKeys, fetcher });
  const checks = new SignatureChecks(keyRing);
  const notarySigner = await notarySignerOf(core);
  const notary = new KeyNotary({
    ...{ db, clock, fetcher, isAllowed },
    ...{ local: localKeys, keys: keyRing, signer: notarySigner },
  });
  const limits = new OriginLimits({ options: config.ratelimits.rcFederation, clock });
  const bodies = new BodyBudget(BODY_BUDGET);
  const auth = new FederationAuth({ serverName: config.serverName, checks, backoff, limits, bodies, isAllowed });
  const identityServers = new IdentityServers({ connections: out.connections, userAgent: userAgentOf(config) });
  return { ...out, identityServers, localKeys, keyRing, checks, notary, auth, limits, bodies };
}

/** Registers the endpoints that do not depend on rooms. */
export function addFederationRoutes(app: App, { localKeys, notary }: FederationParts, { clock }: Core): void {
  keyRoutes(app, { localKeys, notary, clock });
  federationVersionRoutes(app);
}

async function notarySignerOf({ config, signer }: Core): Promise<Signer> {
  const path = config.signingKeys.keyServerSigningKeysPath;
  if (path === null) return signer;
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    throw new StartupError(`Cannot read the key ${path} of "key_server_signing_keys_path": ${reasonOf(error)}`);
  }
  const [key] = parseSigningKeys(text) ?? [];
  if (key === undefined) throw new StartupError(`There is no signing key in ${path}`);
  return { serverName: signer.serverName, key };
}

function notariesOf(config: Config): Notary[] {
  return config.signingKeys.trustedKeyServers.map(({ serverName: name, verifyKeys }) => {
    const serverName = parseServerName(name);
    if (serverName === null) throw new StartupError(`"${name}" of "trusted_key_servers" is not a server name`);
    const keys = Object.entries(verifyKeys ?? {}).map(([keyId, text]) => {
      const key = parseVerifyKey(text);
      if (key === null) throw new StartupError(`The key ${keyId} of "trusted_key_servers" is not a public key`);
      return [keyId, key] as const;
    });
    return { serverName, verifyKeys: keys.length === 0 ? null : new Map(keys) };
  });
}
