/**
 * A response of an identity provider before anything in it is believed, and what must hold of the assertion whose signature
 * was checked. Spec: SAML V2.0 Profiles, 4.1.4, https://docs.oasis-open.org/security/saml/v2.0/saml-profiles-2.0-os.pdf
 */
import { Parser } from "htmlparser2";
import { SsoError } from "./identity_provider.ts";
import { children, type XmlElement } from "./saml_attributes.ts";

/** What the outside of a response says; nobody vouches for it. */
export interface ResponseOutline {
  /** The request that it answers; null where nobody asked. */
  readonly inResponseTo: string | null;
  readonly status: string;
}

/** What an assertion must fit. */
export interface AssertionConditions {
  readonly issuer: string;
  /** The address at which it arrived. */
  readonly recipient: string;
  /** The request; null where nobody asked. */
  readonly requestId: string | null;
  readonly now: number;
  readonly skewMs: number;
}

/** More than any real response has. */
const MAX_XML_LENGTH = 180_000;
const MAX_DEPTH = 40;
const MAX_ELEMENTS = 5_000;
const MAX_ATTRIBUTES = 30;
const BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer";

/** Decodes a response and looks at its outside. Throws `SsoError` for what no parser of documents should see. */
export function outlineOf(base64: string): { xml: string } & ResponseOutline {
  const xml = /^[A-Za-z0-9+/=\s]*$/.test(base64) ? Buffer.from(base64, "base64").toString() : "";
  if (xml === "" || xml.length > MAX_XML_LENGTH) throw invalid("it is empty or too long");
  if (/<!(DOCTYPE|ENTITY)/i.test(xml)) throw invalid("it declares a document type");
  let [depth, elements, root, inResponseTo, status]: [number, number, string, string | null, string] = [
    0,
    0,
    "",
    null,
    "",
  ];
  const parser = new Parser({
    onopentag(name, attributes) {
      depth++;
      elements++;
      const isTooMuch = depth > MAX_DEPTH || elements > MAX_ELEMENTS || Object.keys(attributes).length > MAX_ATTRIBUTES;
      if (isTooMuch) throw invalid("it has too many elements");
      const local = name.split(":").at(-1) ?? "";
      if (depth === 1) [root, inResponseTo] = [local, attributes.InResponseTo ?? null];
      if (depth === 3 && local === "StatusCode") status = attributes.Value ?? "";
    },
    onclosetag() {
      depth--;
    },
  }, { xmlMode: true });
  parser.end(xml);
  if (root !== "Response") throw invalid("it is no response");
  return { xml, inResponseTo, status };
}

/** Checks whom an assertion is for and when; returns its id and when it was made. Throws `SsoError`. */
export function assertFits(
  assertion: XmlElement,
  { issuer, recipient, requestId, now, skewMs }: AssertionConditions,
): { id: string; issuedTs: number; expiresTs: number } {
  const { ID: id = "", IssueInstant: issued = "" } = assertion.$ ?? {};
  if (children(assertion, "Issuer")[0]?._?.trim() !== issuer) throw invalid("it comes from another issuer");
  const isLater = (text: string | undefined) => text !== undefined && Date.parse(text) + skewMs > now;
  const isPast = (text: string | undefined) => text === undefined || Date.parse(text) - skewMs <= now;
  const confirmed = children(children(assertion, "Subject")[0], "SubjectConfirmation").filter(({ $: own = {} }) =>
    own.Method === BEARER
  ).flatMap((confirmation) => children(confirmation, "SubjectConfirmationData").map(({ $: data = {} }) => data));
  const fitting = confirmed.find((data) =>
    data.Recipient === recipient && (data.InResponseTo ?? null) === requestId && isLater(data.NotOnOrAfter) &&
    isPast(data.NotBefore)
  );
  if (fitting === undefined) throw invalid("it is for somebody else, for another login, or too old");
  for (const { $: session = {} } of children(assertion, "AuthnStatement")) {
    const { SessionNotOnOrAfter: end } = session;
    if (end !== undefined && !isLater(end)) throw invalid("the session at the login provider is over");
  }
  const [issuedTs, expiresTs] = [Date.parse(issued), Date.parse(fitting.NotOnOrAfter ?? "") + skewMs];
  if (id === "" || Number.isNaN(issuedTs)) throw invalid("it has no id or no time");
  return { id, issuedTs, expiresTs };
}

/** The response cannot be used; `reason` is for the log. */
export function invalid(reason: string, cause?: unknown): SsoError {
  const details = cause instanceof Error ? `${reason}: ${cause.message}` : reason;
  return new SsoError("invalid_response", "The login provider's answer is not valid.", { cause: new Error(details) });
}
