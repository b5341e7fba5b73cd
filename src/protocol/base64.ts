/** Base64 as Matrix uses it. Spec: appendices, "Unpadded Base64". */
import { Buffer } from "node:buffer";

const STANDARD = /^[A-Za-z0-9+/]*={0,2}$/;
const URL_SAFE = /^[A-Za-z0-9_-]*={0,2}$/;

/** Encodes in the standard alphabet without padding. */
export function encodeBase64(bytes: Uint8Array): string {
  return trimPadding(view(bytes).toString("base64"));
}

/** Encodes in the URL-safe alphabet without padding. */
export function encodeBase64Url(bytes: Uint8Array): string {
  return view(bytes).toString("base64url");
}

/** Decodes the standard alphabet, padded or not; null for anything else. */
export function decodeBase64(text: string): Uint8Array | null {
  return STANDARD.test(text) ? decode(text, "base64") : null;
}

/** Decodes the URL-safe alphabet, padded or not; null for anything else. */
export function decodeBase64Url(text: string): Uint8Array | null {
  return URL_SAFE.test(text) ? decode(text, "base64url") : null;
}

/** Decodes either alphabet, but not a mix: how keys and signatures of other parties are read. */
export function decodeAnyBase64(text: string): Uint8Array | null {
  return decodeBase64(text) ?? decodeBase64Url(text);
}

/** Removes trailing `=`. */
export function trimPadding(text: string): string {
  if (!text.endsWith("=")) return text;
  return text.slice(0, text.endsWith("==") ? -2 : -1);
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function decode(text: string, encoding: "base64" | "base64url"): Uint8Array | null {
  const bare = trimPadding(text);
  const isPadded = bare.length !== text.length;
  if (bare.length % 4 === 1 || (isPadded && text.length % 4 !== 0)) return null;
  return new Uint8Array(Buffer.from(bare, encoding));
}
