/** The certificate of the listeners with TLS, and the orders of `acme`. */
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { challengeHandler } from "../http/acme_challenges.ts";
import { type Listener, type Listeners, listenOnAll } from "../http/listeners.ts";
import { getLogger } from "../lib/log.ts";
import { StartupError } from "../lib/startup_error.ts";
import { AcmeChallenges, type Certificate } from "../services/acme_challenges.ts";
import { makePlaceholder, orderCertificate } from "../services/acme_orders.ts";
import { type AcmeRenewal, Certificates, readCertificate } from "../workers/certificates.ts";
import type { Core } from "./core.ts";

/** What the listeners need of it. */
export interface CertificateParts {
  readonly current: Certificate | null;
  /** Proofs for an ACME server, on all listeners. */
  readonly challenges: AcmeChallenges | null;
  /** Keeps the listeners' certificate up to date until the signal aborts. */
  keep(listeners: Listeners, signal: AbortSignal): void;
}

const log = getLogger("synapse.certificates");
const STOP_GRACE_MS = 1_000;

/** Reads or prepares the certificate, where a listener needs one. */
export async function openCertificates(core: Core): Promise<CertificateParts> {
  const { config, clock } = core;
  const files = certificateFiles(config);
  if (files === null) return { current: null, challenges: null, keep: () => {} };
  const { acme } = config.tls;
  const challenges = acme.enabled ? new AcmeChallenges() : null;
  const renewal = challenges === null ? null : renewalOf(core, challenges);
  const certificates = await Certificates.open({ clock, log }, { ...files, acme: renewal });
  return {
    current: certificates.current,
    challenges,
    keep: (listeners, signal) => void certificates.run(signal, (next) => listeners.setCertificate(next)),
  };
}

/** Reads the certificate as a reload takes it over; null where none is needed or, with `acme`, there is none yet. */
export async function currentCertificate(config: Config): Promise<Certificate | null> {
  const files = certificateFiles(config);
  if (files === null) return null;
  return await readCertificate(files).catch((error) => {
    if (config.tls.acme.enabled) return null;
    throw error;
  });
}

function certificateFiles({ tls, listeners }: Config): { certificatePath: string; keyPath: string } | null {
  if (!listeners.some((listener) => listener.tls)) return null;
  const { tlsCertificatePath: certificatePath, tlsPrivateKeyPath: keyPath } = tls;
  if (certificatePath !== null && keyPath !== null) return { certificatePath, keyPath };
  throw new StartupError(
    'A listener has "tls: true", but "tls_certificate_path" or "tls_private_key_path" is not set',
  );
}

function renewalOf(core: Core, challenges: AcmeChallenges): AcmeRenewal {
  const { config } = core;
  const { acme } = config.tls;
  const names = acme.domain.length > 0 ? acme.domain : [new URL(config.publicBaseurl).hostname];
  const keyPath = acme.accountKeyFile ?? join(config.configDirectory, "acme_account.key");
  return {
    names,
    thresholdDays: acme.reprovisionThreshold,
    placeholder: () => makePlaceholder(names[0] ?? config.serverName, new Date(core.clock.now())),
    async order() {
      const ca = acme.caFile === null ? null : await Deno.readTextFile(acme.caFile);
      const open = await openChallengePort(core, challenges);
      try {
        return await orderCertificate({
          ...{ url: acme.url, names, contact: acme.contact, ca },
          externalAccount: acme.eabKeyId === null || acme.eabHmacKey === null
            ? null
            : { keyId: acme.eabKeyId, hmacKey: acme.eabHmacKey },
          accountKey: (make) => readOrMakeKey(keyPath, make),
        }, challenges);
      } finally {
        await Promise.all(open.map((listener) => listener.stop(STOP_GRACE_MS)));
      }
    },
  };
}

/** Opens the port on which an ACME server asks, while an order is under way. */
async function openChallengePort({ config, clock }: Core, challenges: AcmeChallenges): Promise<readonly Listener[]> {
  const { port, bindAddresses } = config.tls.acme;
  if (port === null) return [];
  const handler = challengeHandler({ clock, log: getLogger("synapse.access.http") }, challenges);
  return await listenOnAll({ clock, log }, { handler, port, bindAddresses });
}

/** Returns the key of the account; a new one is kept, readable by the owner only. */
async function readOrMakeKey(path: string, make: () => Promise<string>): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const key = await make();
  await Deno.writeTextFile(path, key, { createNew: true, mode: 0o600 });
  return key;
}
