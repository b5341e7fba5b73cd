/** Telling image files by their first bytes: nothing else reaches a decoder. */

/** A format that can be decoded, as its type. */
export type ImageType = "image/avif" | "image/gif" | "image/jpeg" | "image/png" | "image/webp";

const PNG_SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const AVIF_BRANDS: ReadonlySet<string> = new Set(["avif", "avis"]);

/** Returns the format of a file, or null. */
export function sniffImage(bytes: Uint8Array): ImageType | null {
  if (PNG_SIGNATURE.every((value, i) => bytes[i] === value)) return "image/png";
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return "image/jpeg";
  const start = ascii(bytes, { from: 0, to: 6 });
  if (start === "GIF87a" || start === "GIF89a") return "image/gif";
  if (start.startsWith("RIFF") && ascii(bytes, { from: 8, to: 12 }) === "WEBP") return "image/webp";
  return isAvif(bytes) ? "image/avif" : null;
}

/** Tells whether a PNG is animated: a chunk `acTL` stands before the image data. */
export function isAnimatedPng(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 8 <= bytes.length;) {
    const type = ascii(bytes, { from: at + 4, to: at + 8 });
    if (type === "acTL") return true;
    if (type === "IDAT") return false;
    at += 12 + view.getUint32(at);
  }
  return false;
}

function isAvif(bytes: Uint8Array): boolean {
  if (ascii(bytes, { from: 4, to: 8 }) !== "ftyp") return false;
  if (AVIF_BRANDS.has(ascii(bytes, { from: 8, to: 12 }))) return true;
  for (let at = 16; at + 4 <= Math.min(bytes.length, 64); at += 4) {
    if (AVIF_BRANDS.has(ascii(bytes, { from: at, to: at + 4 }))) return true;
  }
  return false;
}

function ascii(bytes: Uint8Array, { from, to }: { from: number; to: number }): string {
  return String.fromCharCode(...bytes.subarray(from, to));
}
