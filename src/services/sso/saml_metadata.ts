/**
 * What an identity provider says of itself: its address and the keys it signs with. Spec: Metadata for SAML V2.0,
 * https://docs.oasis-open.org/security/saml/v2.0/saml-metadata-2.0-os.pdf
 */
import { Parser } from "htmlparser2";
import type { SendBounded } from "../../lib/bounded_request.ts";
import type { Clock } from "../../lib/clock.ts";
import { describeError } from "../../lib/describe_error.ts";
import type { Logger } from "../../lib/log.ts";
import { signedPart } from "../../lib/saml.ts";

/** An identity provider. */
export interface SamlIdp {
  readonly entityId: string;
  /** Where people are sent. */
  readonly ssoUrl: string;
  /** In base64. */
  readonly certificates: readonly string[];
}

/** What the reader is built from. */
export interface SamlMetadataDeps {
  /** Documents that do not change. */
  readonly texts: readonly string[];
  /** Documents elsewhere; `certificate` is PEM of whoever must have signed it. */
  readonly remote: readonly { readonly url: string; readonly certificate: string | null }[];
  /** Which provider is meant; null for the only one. */
  readonly entityId: string | null;
  readonly send: SendBounded;
  readonly clock: Clock;
  readonly log: Logger;
}

const REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect";
const MAX_DEPTH = 50;
const REFRESH_MS = 3_600_000;

/** Finds the provider. */
export class SamlMetadata {
  readonly #deps: SamlMetadataDeps;
  readonly #local: readonly SamlIdp[];
  #fetched: { readonly idps: readonly SamlIdp[]; readonly at: number } | null = null;

  /** Throws for a document that cannot be read. */
  constructor(deps: SamlMetadataDeps) {
    this.#deps = deps;
    this.#local = deps.texts.flatMap(parseIdps);
  }

  /** Returns the provider. Throws where there is none, or not just one. */
  async idp(): Promise<SamlIdp> {
    const { entityId, remote } = this.#deps;
    const idps = [...this.#local, ...remote.length === 0 ? [] : await this.#remote()];
    const usable = entityId === null ? idps : idps.filter((idp) => idp.entityId === entityId);
    const [idp, ...others] = usable;
    if (idp === undefined) {
      throw new Error("the metadata have no identity provider of that id that can be redirected to");
    }
    if (others.length > 0) {
      throw new Error('the metadata have several identity providers; "idp_entityid" must choose one');
    }
    return idp;
  }

  /** What was read once serves on while it cannot be read again. */
  async #remote(): Promise<readonly SamlIdp[]> {
    const { clock, log, remote } = this.#deps;
    const now = clock.now();
    if (this.#fetched !== null && now - this.#fetched.at < REFRESH_MS) return this.#fetched.idps;
    try {
      const idps: SamlIdp[] = [];
      for (const source of remote) idps.push(...parseIdps(await this.#fetch(source)));
      this.#fetched = { idps, at: now };
    } catch (error) {
      if (this.#fetched === null) throw error;
      log.warn(`Keeping the old metadata of the identity provider: ${describeError(error)}`);
      this.#fetched = { idps: this.#fetched.idps, at: now };
    }
    return this.#fetched.idps;
  }

  async #fetch({ url, certificate }: SamlMetadataDeps["remote"][number]): Promise<string> {
    const { status, text } = await this.#deps.send(url, {
      headers: { accept: "application/samlmetadata+xml, text/xml" },
    });
    if (status !== 200) throw new Error(`${url} answered ${status}`);
    if (certificate === null) return text;
    const signed = await signedPart(text, certificate);
    if (signed === null) throw new Error(`the metadata of ${url} are not signed with the key of "cert"`);
    return signed;
  }
}

/** Reads the identity providers of a document. Throws for one that is no metadata. */
export function parseIdps(xml: string): SamlIdp[] {
  if (/<!DOCTYPE/i.test(xml)) throw new Error("the metadata declare a document type, which none needs");
  const idps: SamlIdp[] = [];
  const path: string[] = [];
  let [entityId, ssoUrl, use, text] = ["", "", "", ""];
  let certificates: string[] = [];
  const parser = new Parser({
    onopentag(name, attributes) {
      path.push(name.split(":").at(-1) ?? "");
      if (path.length > MAX_DEPTH) throw new Error("the metadata are nested too deep");
      text = "";
      const [at, parent] = [path.at(-1), path.at(-2)];
      if (at === "EntityDescriptor") [entityId, ssoUrl, certificates] = [attributes.entityID ?? "", "", []];
      else if (at === "KeyDescriptor") use = attributes.use ?? "";
      else if (at === "SingleSignOnService" && parent === "IDPSSODescriptor" && attributes.Binding === REDIRECT) {
        ssoUrl = attributes.Location ?? "";
      }
    },
    ontext(part) {
      text += part;
    },
    onclosetag() {
      const at = path.at(-1);
      const isKey = at === "X509Certificate" && path.includes("IDPSSODescriptor") && path.includes("KeyDescriptor");
      if (isKey && use !== "encryption") certificates.push(text.replace(/\s+/g, ""));
      const isUsable = at === "IDPSSODescriptor" && URL.canParse(ssoUrl) && certificates.length > 0;
      if (isUsable && entityId !== "") idps.push({ entityId, ssoUrl, certificates });
      path.pop();
    },
  }, { xmlMode: true });
  parser.end(xml);
  return idps;
}
