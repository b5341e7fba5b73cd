/** An identity provider that speaks SAML 2: it reads real requests, signs real assertions, and says whatever a test wants. */
import { inflateRawSync } from "node:zlib";
import { createCipheriv, publicEncrypt, randomBytes, randomUUID } from "node:crypto";
import { PemConverter, X509CertificateGenerator } from "@peculiar/x509";
import { SignedXml } from "xml-crypto";

/** How an answer differs from a good one. */
export interface SamlChanges {
  readonly attributes?: Readonly<Record<string, string | readonly string[]>>;
  /** What is signed; the response unless given. */
  readonly sign?: "response" | "assertion" | "both" | "none";
  /** Signs in the provider's place. */
  readonly signer?: { readonly key: string; readonly cert: string };
  readonly audience?: string;
  readonly recipient?: string;
  readonly issuer?: string;
  /** When the answer runs out, in milliseconds from now. */
  readonly lifetimeMs?: number;
  /** What it answers; null for nothing. */
  readonly inResponseTo?: string | null;
  /** The same within the assertion, where that differs. */
  readonly subjectInResponseTo?: string | null;
  readonly status?: string;
  /** In milliseconds from now. */
  readonly issuedMs?: number;
  /** Encrypts the assertion to this certificate. */
  readonly encryptTo?: string;
  /** Changes the text after it was signed. */
  readonly edit?: (xml: string) => string;
}

/** A request as the provider reads it. */
export interface SamlRequest {
  readonly id: string;
  readonly xml: string;
  readonly relayState: string;
  readonly acsUrl: string;
  readonly issuer: string;
}

const NAMES = 'xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"';
const SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success";

/** A provider. */
export class StubSamlIdp {
  readonly entityId = "https://idp.test/metadata";
  readonly key: string;
  readonly cert: string;

  private constructor({ key, cert }: { key: string; cert: string }) {
    this.key = key;
    this.cert = cert;
  }

  /** Makes one with a key of its own. */
  static async make(): Promise<StubSamlIdp> {
    return new StubSamlIdp(await makeRsaCertificate());
  }

  /** What it says of itself. */
  get metadata(): string {
    const redirect = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect";
    return `<?xml version="1.0"?><md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" ` +
      `xmlns:ds="http://www.w3.org/2000/09/xmldsig#" ID="_metadata" entityID="${this.entityId}">` +
      `<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">` +
      `<md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>${bodyOf(this.cert)}` +
      `</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>` +
      `<md:SingleSignOnService Binding="${redirect}" Location="https://idp.test/sso?tenant=1"/>` +
      `</md:IDPSSODescriptor></md:EntityDescriptor>`;
  }

  /** The same, signed by a key. */
  metadataSignedBy(signer: { readonly key: string; readonly cert: string }): string {
    return sign(this.metadata, { name: "EntityDescriptor", signer, location: { reference: "/*", action: "prepend" } });
  }

  /** Reads the request that a browser was sent with. */
  read(location: string): SamlRequest {
    const { searchParams } = new URL(location);
    const xml = inflateRawSync(Buffer.from(searchParams.get("SAMLRequest") ?? "", "base64")).toString();
    const find = (pattern: RegExp) => pattern.exec(xml)?.[1] ?? "";
    return {
      xml,
      id: find(/ ID="([^"]+)"/),
      relayState: searchParams.get("RelayState") ?? "",
      acsUrl: find(/AssertionConsumerServiceURL="([^"]+)"/),
      issuer: find(/<saml:Issuer[^>]*>([^<]+)</),
    };
  }

  /** Returns the form with which a browser comes back. */
  answer(request: SamlRequest, changes: SamlChanges = {}): Record<string, string> {
    const { sign = "response", edit = (xml) => xml } = changes;
    let assertion = this.#assertion(request, changes);
    if (sign === "assertion" || sign === "both") assertion = this.#sign(assertion, { name: "Assertion", changes });
    if (changes.encryptTo !== undefined) assertion = encrypt(assertion, changes.encryptTo);
    const { inResponseTo = request.id, status = SUCCESS } = changes;
    let xml = `<samlp:Response ${NAMES} ID="_${randomUUID()}" Version="2.0" IssueInstant="${at(0)}" ` +
      `Destination="${request.acsUrl}"${inResponseTo === null ? "" : ` InResponseTo="${inResponseTo}"`}>` +
      `<saml:Issuer>${this.entityId}</saml:Issuer>` +
      `<samlp:Status><samlp:StatusCode Value="${status}"/></samlp:Status>${assertion}</samlp:Response>`;
    if (sign === "response" || sign === "both") xml = this.#sign(xml, { name: "Response", changes });
    return { SAMLResponse: Buffer.from(edit(xml)).toString("base64"), RelayState: request.relayState };
  }

  #assertion(request: SamlRequest, changes: SamlChanges): string {
    const { attributes = { uid: "frieda" }, audience = request.issuer, recipient = request.acsUrl } = changes;
    const { issuer = this.entityId, lifetimeMs = 300_000, issuedMs = 0, inResponseTo = request.id } = changes;
    const { subjectInResponseTo = inResponseTo } = changes;
    const end = at(lifetimeMs);
    const list = Object.entries(attributes).map(([name, values]) =>
      `<saml:Attribute Name="${name}">${
        [values].flat().map((value) => `<saml:AttributeValue>${value}</saml:AttributeValue>`).join("")
      }</saml:Attribute>`
    );
    return `<saml:Assertion ${NAMES} ID="_${randomUUID()}" Version="2.0" IssueInstant="${at(issuedMs)}">` +
      `<saml:Issuer>${issuer}</saml:Issuer><saml:Subject><saml:NameID>someone</saml:NameID>` +
      `<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData ` +
      `NotOnOrAfter="${end}" Recipient="${recipient}"` +
      `${subjectInResponseTo === null ? "" : ` InResponseTo="${subjectInResponseTo}"`}/></saml:SubjectConfirmation>` +
      `</saml:Subject><saml:Conditions NotBefore="${at(-600_000)}" NotOnOrAfter="${end}"><saml:AudienceRestriction>` +
      `<saml:Audience>${audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions>` +
      `<saml:AuthnStatement AuthnInstant="${at(0)}"/>` +
      `<saml:AttributeStatement>${list.join("")}</saml:AttributeStatement></saml:Assertion>`;
  }

  #sign(xml: string, { name, changes }: { name: "Assertion" | "Response"; changes: SamlChanges }): string {
    const reference = `/*[local-name(.)='${name}']/*[local-name(.)='Issuer']`;
    return sign(xml, { name, signer: changes.signer ?? this, location: { reference, action: "after" } });
  }
}

function sign(
  xml: string,
  { name, signer, location }: {
    name: string;
    signer: { readonly key: string; readonly cert: string };
    location: { reference: string; action: "after" | "prepend" };
  },
): string {
  const signature = new SignedXml({
    privateKey: signer.key,
    publicCert: signer.cert,
    signatureAlgorithm: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    canonicalizationAlgorithm: "http://www.w3.org/2001/10/xml-exc-c14n#",
  });
  signature.addReference({
    xpath: `/*[local-name(.)='${name}']`,
    digestAlgorithm: "http://www.w3.org/2001/04/xmlenc#sha256",
    transforms: ["http://www.w3.org/2000/09/xmldsig#enveloped-signature", "http://www.w3.org/2001/10/xml-exc-c14n#"],
  });
  signature.computeSignature(xml, { location });
  return signature.getSignedXml();
}

/** Makes a key and a certificate that it signed itself, both PEM. */
export async function makeRsaCertificate(): Promise<{ key: string; cert: string }> {
  const algorithm = {
    ...{ name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength: 2_048 },
    publicExponent: new Uint8Array([1, 0, 1]),
  };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({ name: "CN=test", keys });
  const key = PemConverter.encode(await crypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY");
  return { key, cert: certificate.toString("pem") };
}

function at(offsetMs: number): string {
  return new Date(Date.now() + offsetMs).toISOString();
}

function bodyOf(pem: string): string {
  return pem.replace(/-----[A-Z ]+-----/g, "").replace(/\s+/g, "");
}

/** Encrypts an assertion with AES-256-GCM, and the key to a certificate with RSA-OAEP. */
function encrypt(xml: string, certificate: string): string {
  const [key, iv] = [randomBytes(32), randomBytes(12)];
  const cipher = createCipheriv("aes-256-gcm", key, iv);
  const sealed = Buffer.concat([iv, cipher.update(xml), cipher.final(), cipher.getAuthTag()]);
  const wrapped = publicEncrypt({ key: certificate, oaepHash: "sha1" }, key);
  const [enc, ds] = ["http://www.w3.org/2001/04/xmlenc#", "http://www.w3.org/2000/09/xmldsig#"];
  return `<saml:EncryptedAssertion><xenc:EncryptedData xmlns:xenc="${enc}" Type="${enc}Element">` +
    `<xenc:EncryptionMethod Algorithm="http://www.w3.org/2009/xmlenc11#aes256-gcm"/><ds:KeyInfo xmlns:ds="${ds}">` +
    `<xenc:EncryptedKey><xenc:EncryptionMethod Algorithm="${enc}rsa-oaep-mgf1p">` +
    `<ds:DigestMethod Algorithm="${ds}sha1"/></xenc:EncryptionMethod><xenc:CipherData><xenc:CipherValue>` +
    `${wrapped.toString("base64")}</xenc:CipherValue></xenc:CipherData></xenc:EncryptedKey></ds:KeyInfo>` +
    `<xenc:CipherData><xenc:CipherValue>${sealed.toString("base64")}</xenc:CipherValue></xenc:CipherData>` +
    `</xenc:EncryptedData></saml:EncryptedAssertion>`;
}
