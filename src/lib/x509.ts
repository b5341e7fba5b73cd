/**
 * What certificates say. Deno's own `X509Certificate` takes no certificate with a wildcard for a name it covers, and that
 * of the oldest supported version lacks most methods; so it is used for the simplest things only.
 */
import type { Buffer } from "node:buffer";
import { createPublicKey } from "node:crypto";
import type { X509Certificate } from "@peculiar/x509";

export type { X509Certificate } from "@peculiar/x509";

/** Returns the certificates of a text in PEM, in order. Throws where one cannot be read. */
export async function readCertificates(text: string): Promise<X509Certificate[]> {
  const { X509Certificate } = await import("@peculiar/x509");
  return splitCertificates(text).map((part) => new X509Certificate(part));
}

function splitCertificates(text: string): readonly string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
}

/** Whether a private key is the one that the first certificate of a text is for; both in PEM. Throws where one is none. */
export function isKeyOf(key: string, text: string): boolean {
  const [certificate = ""] = splitCertificates(text);
  return publicKeyOf(key).equals(publicKeyOf(certificate));
}

function publicKeyOf(pem: string): Buffer {
  return createPublicKey(pem).export({ type: "spki", format: "der" });
}

/** The host names, some with a wildcard, and the addresses that a certificate is for, in lower case. */
export async function certificateNames(certificate: X509Certificate): Promise<readonly string[]> {
  const { SubjectAlternativeNameExtension } = await import("@peculiar/x509");
  const names = certificate.getExtension(SubjectAlternativeNameExtension)?.names.items ?? [];
  return names.filter(({ type }) => type === "dns" || type === "ip").map(({ value }) => value.toLowerCase());
}

/** Whether one of a certificate's names covers a host (RFC 6125): a wildcard stands for one whole label, the first. */
export function isCoveredBy(names: readonly string[], host: string): boolean {
  const name = host.toLowerCase();
  return names.includes(name) || names.includes(name.replace(/^[^.]+/, "*"));
}

/** Whether one certificate says that it was issued by the other, by name and, where both tell, by key. */
export async function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): Promise<boolean> {
  const { AuthorityKeyIdentifierExtension, SubjectKeyIdentifierExtension } = await import("@peculiar/x509");
  const wanted = certificate.getExtension(AuthorityKeyIdentifierExtension)?.keyId;
  const found = issuer.getExtension(SubjectKeyIdentifierExtension)?.keyId;
  return certificate.issuer === issuer.subject && (wanted === undefined || found === undefined || wanted === found);
}
