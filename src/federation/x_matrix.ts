/** The `Authorization` header between servers. Spec: server-server API, "Request Authentication". */
import { canonicalJson } from "../protocol/canonical_json.ts";
import type { JsonValue } from "../protocol/json.ts";
import { type Signer, signText } from "../protocol/signatures.ts";

/** What one `X-Matrix` credential says. Nothing of it is verified. */
export interface XMatrix {
  readonly origin: string;
  /** Null from servers of before 1.3. */
  readonly destination: string | null;
  readonly key: string;
  readonly signature: string;
}

/** The request that is signed. `bodyText` is canonical JSON, null where there is no body. */
export interface SignedRequest {
  readonly method: string;
  /** The path with the query, as sent. */
  readonly uri: string;
  /** Null only in requests from servers of before 1.3. */
  readonly destination: string | null;
  readonly bodyText: string | null;
}

const MAX_CREDENTIALS = 5;
const SCHEME = /^\s*X-Matrix[ \t]+/i;
// A bare value is a token; colons are let through for servers that do not quote names and key ids.
const PARAMETER = /[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))[ \t]*/y;

/**
 * Returns the credentials of a header, several where a server signed with several keys and the header fields were joined;
 * null when it is malformed or anything but `X-Matrix`.
 */
export function parseXMatrix(header: string): XMatrix[] | null {
  const parts = header.split(/(?:^|,)(?=\s*X-Matrix[ \t]+[A-Za-z]+[ \t]*=)/i).filter((part) => part.trim() !== "");
  if (parts.length === 0 || parts.length > MAX_CREDENTIALS) return null;
  const credentials = parts.map(parseOne).filter((credential) => credential !== null);
  return credentials.length === parts.length ? credentials : null;
}

function parseOne(text: string): XMatrix | null {
  const scheme = SCHEME.exec(text);
  const parameters = scheme === null ? null : parseParameters(text.slice(scheme[0].length));
  if (parameters === null) return null;
  const [origin, key, signature] = [parameters.get("origin"), parameters.get("key"), parameters.get("sig")];
  if (!origin || !key || !signature) return null;
  return { origin, key, signature, destination: parameters.get("destination") ?? null };
}

function parseParameters(text: string): Map<string, string> | null {
  const parameters = new Map<string, string>();
  let at = 0;
  while (at < text.length) {
    PARAMETER.lastIndex = at;
    const match = PARAMETER.exec(text);
    if (match === null) return null;
    const [whole, name = "", quoted, bare = ""] = match;
    // The same parameter twice would let two readers see two requests.
    if (parameters.has(name.toLowerCase())) return null;
    parameters.set(name.toLowerCase(), quoted === undefined ? bare : quoted.replace(/\\(.)/g, "$1"));
    at += whole.length;
    if (at === text.length) break;
    if (text[at] !== ",") return null;
    at++;
    if (text.slice(at).trim() === "") break;
  }
  return parameters;
}

/** Returns the text that the signature of a request is over. */
export function signedRequestText({ method, uri, destination, bodyText }: SignedRequest, origin: string): string {
  const content = bodyText === null ? "" : `"content":${bodyText},`;
  const quote = (value: JsonValue) => canonicalJson(value);
  const target = destination === null ? "" : `"destination":${quote(destination)},`;
  return `{${content}${target}"method":${quote(method)},` +
    `"origin":${quote(origin)},"uri":${quote(uri)}}`;
}

/** Returns the header that authenticates a request of ours. */
export function authorize(request: SignedRequest, { serverName, key }: Signer): string {
  const signature = signText(signedRequestText(request, serverName), key);
  const destination = request.destination ?? "";
  return `X-Matrix origin="${serverName}",destination="${destination}",key="${key.keyId}",sig="${signature}"`;
}
