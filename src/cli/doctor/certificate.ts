/** The certificate of listeners with TLS: key, names, time, chain. */
import type { Config } from "../../config/config.ts";
import type { Clock } from "../../lib/clock.ts";
import {
  certificateNames,
  isCoveredBy,
  isIssuedBy,
  isKeyOf,
  readCertificates,
  type X509Certificate,
} from "../../lib/x509.ts";
import { splitServerName } from "../../protocol/server_name.ts";
import { fail, type Finding, ok, reasonText, warn } from "./finding.ts";

const DAY_MS = 86_400_000;
const SOON_DAYS = 14;

/** Looks at the files of the certificate, where a listener uses them. */
export async function checkCertificate(config: Config, clock: Clock): Promise<Finding[]> {
  const { tlsCertificatePath, tlsPrivateKeyPath } = config.tls;
  if (!config.listeners.some(({ tls }) => tls) || tlsCertificatePath === null || tlsPrivateKeyPath === null) return [];
  let text: string;
  let chain: X509Certificate[];
  try {
    text = await Deno.readTextFile(tlsCertificatePath);
    chain = await readCertificates(text);
  } catch (error) {
    return [unreadable(tlsCertificatePath, error)];
  }
  const [leaf] = chain;
  if (leaf === undefined) return [unreadable(tlsCertificatePath, "it holds no certificate")];
  return [
    judgeTime(leaf, clock.now()),
    ...await judgeNames(leaf, config),
    ...await judgeChain(chain),
    ...await judgeKey(text, tlsPrivateKeyPath),
  ];
}

function unreadable(path: string, error: unknown): Finding {
  return fail("certificate", {
    message: `${path} cannot be used: ${reasonText(error)}`,
    advice: "name the file with the whole chain in PEM (fullchain.pem), readable by the user that the server runs as",
  });
}

/** Says how long a certificate still holds. */
export function judgeTime(certificate: { readonly notBefore: Date; readonly notAfter: Date }, now: number): Finding {
  const days = Math.floor((certificate.notAfter.getTime() - now) / DAY_MS);
  const advice = "renew it; SIGHUP loads the new one without a restart";
  if (certificate.notBefore.getTime() > now) {
    const message = `it is not valid before ${certificate.notBefore.toUTCString()}`;
    return fail("certificate", { message, advice: "check the clock of this machine" });
  }
  if (days < 0) {
    return fail("certificate", { message: `it ended on ${certificate.notAfter.toUTCString()}`, advice });
  }
  if (days < SOON_DAYS) return warn("certificate", { message: `it ends in ${days} days`, advice });
  return ok("certificate", `valid for ${days} days more`);
}

/** The names that clients and servers use, as far as they lead to this server. */
async function judgeNames(leaf: X509Certificate, config: Config): Promise<Finding[]> {
  const wanted = config.hasPublicBaseurl
    ? new URL(config.publicBaseurl).hostname.replace(/^\[|\]$/g, "")
    : splitServerName(config.serverName).host;
  const names = await certificateNames(leaf);
  if (isCoveredBy(names, wanted)) return [ok("certificate", `it is for ${wanted}`)];
  return [fail("certificate", {
    message: `it is not for ${wanted} but for ${names.length > 0 ? names.join(", ") : leaf.subject}`,
    advice: "get a certificate with that name",
  })];
}

async function judgeChain(chain: readonly X509Certificate[]): Promise<Finding[]> {
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
    if (next !== undefined && !await isIssuedBy(certificate, next)) {
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

async function judgeKey(certificate: string, path: string): Promise<Finding[]> {
  try {
    if (isKeyOf(await Deno.readTextFile(path), certificate)) return [];
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
