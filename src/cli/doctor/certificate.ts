/** The certificate of listeners with TLS: key, names, time, chain. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import type { Config } from "../../config/config.ts";
import type { Clock } from "../../lib/clock.ts";
import { splitServerName } from "../../protocol/server_name.ts";
import { fail, type Finding, ok, reasonText, warn } from "./finding.ts";

const DAY_MS = 86_400_000;
const SOON_DAYS = 14;

/** Looks at the files of the certificate, where a listener uses them. */
export async function checkCertificate(config: Config, clock: Clock): Promise<Finding[]> {
  const { tlsCertificatePath, tlsPrivateKeyPath } = config.tls;
  if (!config.listeners.some(({ tls }) => tls) || tlsCertificatePath === null || tlsPrivateKeyPath === null) return [];
  let chain: X509Certificate[];
  try {
    chain = splitChain(await Deno.readTextFile(tlsCertificatePath));
  } catch (error) {
    return [unreadable(tlsCertificatePath, error)];
  }
  const [leaf] = chain;
  if (leaf === undefined) return [unreadable(tlsCertificatePath, "it holds no certificate")];
  const findings = [
    judgeTime(leaf, clock.now()),
    ...judgeNames(leaf, config),
    ...judgeChain(chain),
    ...await judgeKey(leaf, tlsPrivateKeyPath),
  ];
  return findings;
}

/** Returns the certificates of a file in PEM, in order. */
function splitChain(text: string): X509Certificate[] {
  const parts = text.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  return parts.map((part) => new X509Certificate(part));
}

function unreadable(path: string, error: unknown): Finding {
  return fail("certificate", {
    message: `${path} cannot be used: ${reasonText(error)}`,
    advice: "name the file with the whole chain in PEM (fullchain.pem), readable by the user that the server runs as",
  });
}

/** Says how long a certificate still holds. */
export function judgeTime(certificate: { readonly validTo: string; readonly validFrom: string }, now: number): Finding {
  const days = Math.floor((Date.parse(certificate.validTo) - now) / DAY_MS);
  const advice = "renew it; SIGHUP loads the new one without a restart";
  if (Date.parse(certificate.validFrom) > now) {
    const message = `it is not valid before ${certificate.validFrom}`;
    return fail("certificate", { message, advice: "check the clock of this machine" });
  }
  if (days < 0) return fail("certificate", { message: `it ended on ${certificate.validTo}`, advice });
  if (days < SOON_DAYS) return warn("certificate", { message: `it ends in ${days} days`, advice });
  return ok("certificate", `valid for ${days} days more`);
}

/** The names that clients and servers use, as far as they lead to this server. */
function judgeNames(leaf: X509Certificate, config: Config): Finding[] {
  const names = new Set<string>();
  if (config.hasPublicBaseurl) names.add(new URL(config.publicBaseurl).hostname.replace(/^\[|\]$/g, ""));
  else names.add(splitServerName(config.serverName).host);
  const missing = [...names].filter((name) =>
    (isIP(name) === 0 ? leaf.checkHost(name) : leaf.checkIP(name)) === undefined
  );
  if (missing.length === 0) return [ok("certificate", `it is for ${[...names].join(", ")}`)];
  return [fail("certificate", {
    message: `it is not for ${missing.join(", ")} but for ${leaf.subjectAltName ?? leaf.subject}`,
    advice: "get a certificate with that name",
  })];
}

function judgeChain(chain: readonly X509Certificate[]): Finding[] {
  const [leaf] = chain;
  if (leaf === undefined) return [];
  if (leaf.issuer === leaf.subject) {
    return [fail("certificate", {
      message: "it is signed by itself: other servers will refuse it",
      advice: "get one from an authority such as Let's Encrypt",
    })];
  }
  for (const [index, certificate] of chain.entries()) {
    const next = chain[index + 1];
    if (next !== undefined && !certificate.checkIssued(next)) {
      return [fail("certificate", {
        message: `certificate ${index + 2} of the file did not issue the one before it`,
        advice: "put the server's certificate first, then each one's issuer",
      })];
    }
  }
  if (chain.length > 1) return [ok("certificate", `a chain of ${chain.length}`)];
  return [warn("certificate", {
    message: "the file holds one certificate only",
    advice: "most authorities need the intermediate one too: use the file with the full chain",
  })];
}

async function judgeKey(leaf: X509Certificate, path: string): Promise<Finding[]> {
  try {
    const key = createPrivateKey(await Deno.readTextFile(path));
    if (leaf.checkPrivateKey(key)) return [];
    return [fail("certificate", {
      message: `the key in ${path} is not the certificate's`,
      advice: "name the key that the certificate was asked for with",
    })];
  } catch (error) {
    return [fail("certificate", {
      message: `the key ${path} cannot be used: ${reasonText(error)}`,
      advice: "check the file, and that the user that the server runs as may read it",
    })];
  }
}
