/** Headers under which files of strangers can be shown without harm. Spec: "Serving inline content". */

/** Types that browsers only show as what they claim to be. */
const INLINE_TYPES: ReadonlySet<string> = new Set([
  "application/json",
  "application/ld+json",
  "audio/aac",
  "audio/flac",
  "audio/mp4",
  "audio/mpeg",
  "audio/ogg",
  "audio/wav",
  "audio/wave",
  "audio/webm",
  "audio/x-flac",
  "audio/x-pn-wav",
  "audio/x-wav",
  "image/apng",
  "image/avif",
  "image/gif",
  "image/jpeg",
  "image/png",
  "image/webp",
  "text/css",
  "text/csv",
  "text/plain",
  "video/mp4",
  "video/ogg",
  "video/quicktime",
  "video/webm",
]);

/** What a browser may do with a file that it opens as a page: nothing. */
export const CONTENT_SECURITY_POLICY = "sandbox; default-src 'none'; script-src 'none'; " +
  "plugin-types application/pdf; style-src 'unsafe-inline'; media-src 'self'; object-src 'self';";

/** Type of files whose type is unknown. */
export const OCTET_STREAM = "application/octet-stream";

const MAX_TYPE_LENGTH = 255;
const TYPE = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+\/[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:\s*;[\t\x20-\x7e]*)?$/;

/** Returns the type of an upload as it will be served; `application/octet-stream` for what is no type. */
export function acceptContentType(text: string | null): string {
  const type = text?.trim() ?? "";
  return type.length <= MAX_TYPE_LENGTH && TYPE.test(type) ? type : OCTET_STREAM;
}

/** Returns a type without its parameters, in lower case. */
export function essenceOf(contentType: string): string {
  return (contentType.split(";", 1)[0] ?? "").trim().toLowerCase();
}

/** Returns the header's value: text without a charset is UTF-8, because browsers would guess otherwise. */
export function servedContentType(contentType: string): string {
  const isText = essenceOf(contentType).startsWith("text/");
  return isText && !/;\s*charset=/i.test(contentType) ? `${contentType}; charset=UTF-8` : contentType;
}

/** Returns the `Content-Disposition` of a file: `inline` only for harmless types. */
export function dispositionOf(contentType: string, name: string | null): string {
  const kind = INLINE_TYPES.has(essenceOf(contentType)) ? "inline" : "attachment";
  if (name === null || name === "") return kind;
  // What quoting and percent signs mean inside quotes differs between browsers.
  if (/^[\x20-\x7e]*$/.test(name) && !/["\\%]/.test(name)) return `${kind}; filename="${name}"`;
  return `${kind}; filename*=UTF-8''${encodeExtended(name)}`;
}

/** Encodes a value as RFC 5987 says. */
function encodeExtended(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replace(
    /['()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
