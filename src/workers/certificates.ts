/**
 * The certificate of the listeners: read from its files, taken over when they change, and with `acme` ordered and
 * renewed. Connections stay open through all of that.
 */
import { X509Certificate } from "node:crypto";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";
import { certificateNames, isCoveredBy, isKeyOf, readCertificates } from "../lib/x509.ts";
import type { Certificate } from "../services/acme_challenges.ts";

/** Where the certificate is and how another is got. */
export interface CertificatesOptions {
  readonly certificatePath: string;
  readonly keyPath: string;
  /** Null without `acme`. */
  readonly acme: AcmeRenewal | null;
}

/** How certificates are ordered. */
export interface AcmeRenewal {
  readonly names: readonly string[];
  /** Days before its end at which a certificate is renewed. */
  readonly thresholdDays: number;
  order(): Promise<Certificate>;
  /** Makes a certificate for the time until the first order is through. */
  placeholder(): Promise<Certificate>;
}

/** What it works with. */
export interface CertificatesDeps {
  readonly clock: Clock;
  readonly log: Logger;
}

const LOOK_EVERY_MS = 60_000;
const DAY_MS = 86_400_000;
/** After a failed order; doubled each time, since authorities count failures. */
const FIRST_RETRY_MS = 5 * 60_000;
const LONGEST_RETRY_MS = 12 * 3_600_000;

/** Keeps the certificate up to date. */
export class Certificates {
  readonly #deps: CertificatesDeps;
  readonly #options: CertificatesOptions;
  #current: Certificate;
  #refused = "";
  #failures = 0;
  #nextOrder = 0;

  private constructor(deps: CertificatesDeps, options: CertificatesOptions, current: Certificate) {
    this.#deps = deps;
    this.#options = options;
    this.#current = current;
  }

  /** Reads the files. With `acme` they may be missing or useless. Throws `StartupError`. */
  static async open(deps: CertificatesDeps, options: CertificatesOptions): Promise<Certificates> {
    const { acme } = options;
    try {
      return new Certificates(deps, options, await readCertificate(options));
    } catch (error) {
      if (acme === null) throw error;
      return new Certificates(deps, options, await acme.placeholder());
    }
  }

  /** What listeners show. */
  get current(): Certificate {
    return this.#current;
  }

  /** Looks at the files every minute, and orders when it is time, until the signal aborts. */
  async run(signal: AbortSignal, use: (certificate: Certificate) => void): Promise<void> {
    while (!signal.aborted) {
      await this.#renew(use);
      await this.#deps.clock.sleep(LOOK_EVERY_MS, signal);
      if (!signal.aborted) await this.#look(use);
    }
  }

  /** Takes over what another program wrote. Files that do not fit together, yet or at all, change nothing. */
  async #look(use: (certificate: Certificate) => void): Promise<void> {
    try {
      const found = await readCertificate(this.#options);
      this.#refused = "";
      if (found.cert === this.#current.cert && found.key === this.#current.key) return;
      this.#take(found, use);
      this.#deps.log.info("Certificate taken over from its files", { valid_to: endOf(found) });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason === this.#refused || this.#options.acme !== null) return;
      this.#refused = reason;
      this.#deps.log.warn("The files of the certificate cannot be used; the one before stays in use", { reason });
    }
  }

  async #renew(use: (certificate: Certificate) => void): Promise<void> {
    const { clock, log } = this.#deps;
    const { acme } = this.#options;
    if (acme === null || clock.now() < this.#nextOrder) return;
    if (!await isDue(this.#current, { acme, now: clock.now() })) return;
    log.info("Certificate ordered", { names: acme.names });
    try {
      const certificate = await acme.order();
      await writeCertificate(certificate, this.#options);
      this.#take(certificate, use);
      this.#failures = 0;
      log.info("Certificate got", { names: acme.names, valid_to: endOf(certificate) });
    } catch (error) {
      const delayMs = Math.min(FIRST_RETRY_MS * 2 ** this.#failures++, LONGEST_RETRY_MS);
      this.#nextOrder = clock.now() + delayMs;
      const reason = error instanceof Error ? error.message : String(error);
      log.error("No certificate could be got; it is tried again", { names: acme.names, reason, in_s: delayMs / 1000 });
    }
  }

  #take(certificate: Certificate, use: (certificate: Certificate) => void): void {
    use(certificate);
    this.#current = certificate;
  }
}

/** Reads the chain and its key, and checks that they belong together. Throws `StartupError`. */
export async function readCertificate(
  { certificatePath, keyPath }: Pick<CertificatesOptions, "certificatePath" | "keyPath">,
): Promise<Certificate> {
  const certificate = { cert: await readFile(certificatePath), key: await readFile(keyPath) };
  if (!fits(certificate)) {
    throw new StartupError(`${certificatePath} and ${keyPath} are not a certificate and the key of it`);
  }
  return certificate;
}

function fits({ cert, key }: Certificate): boolean {
  try {
    return isKeyOf(key, cert);
  } catch {
    return false;
  }
}

async function readFile(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new StartupError(`Cannot read ${path}: ${reasonOf(error)}`);
  }
}

/** Whether it is for other names, or near its end: the threshold, or the last third where it does not last that long. */
async function isDue({ cert }: Certificate, { acme, now }: { acme: AcmeRenewal; now: number }): Promise<boolean> {
  const [leaf] = await readCertificates(cert);
  if (leaf === undefined || leaf.subject === leaf.issuer) return true;
  const names = await certificateNames(leaf);
  if (acme.names.some((name) => !isCoveredBy(names, name))) return true;
  const [start, end] = [leaf.notBefore.getTime(), leaf.notAfter.getTime()];
  return now >= end - Math.min(acme.thresholdDays * DAY_MS, (end - start) / 3);
}

function endOf({ cert }: Certificate): string {
  return new Date(Date.parse(new X509Certificate(cert).validTo)).toISOString();
}

/** Replaces both files; the new key is readable by the owner only from its first moment. */
async function writeCertificate({ cert, key }: Certificate, options: CertificatesOptions): Promise<void> {
  const files = [[options.keyPath, key, 0o600], [options.certificatePath, cert, 0o644]] as const;
  for (const [path, text, mode] of files) {
    await Deno.remove(`${path}.new`).catch(() => undefined);
    await Deno.writeTextFile(`${path}.new`, text, { createNew: true, mode });
  }
  for (const [path] of files) await Deno.rename(`${path}.new`, path);
}
