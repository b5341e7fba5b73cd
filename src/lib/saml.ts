/** SAML 2, loaded with the first login: it brings an XML parser and what signatures of XML need. */
import type { SAML } from "@node-saml/node-saml";

/** The module. */
export type NodeSaml = typeof import("@node-saml/node-saml");
/** A service provider, which sends people to an identity provider and reads its answers. */
export type SamlClient = SAML;

/** Returns the module. */
export function loadSaml(): Promise<NodeSaml> {
  return import("@node-saml/node-saml");
}

/** Returns what a document's own signature covers, by the key of a certificate; null where there is no such signature. */
export async function signedPart(xml: string, certificate: string): Promise<string | null> {
  const { getVerifiedXml, parseDomFromString } = await import("@node-saml/node-saml/lib/xml.js");
  const { documentElement } = await parseDomFromString(xml);
  return getVerifiedXml(xml, documentElement, [certificate]);
}
