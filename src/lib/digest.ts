/** Digests and comparisons of secrets. */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";

/** Returns the SHA-256 of a secret in base64url: how tokens are stored. */
export function hashSecret(secret: string): string {
  return createHash("sha256").update(secret, "utf8").digest("base64url");
}

/** Compares two texts in a time that tells nothing about where they differ. */
export function equalSecrets(left: string, right: string): boolean {
  const a = createHash("sha256").update(left, "utf8").digest();
  const b = createHash("sha256").update(right, "utf8").digest();
  return timingSafeEqual(a, b);
}

/** Returns the HMAC-SHA1 of `text` in lower-case hex, as Synapse's registration with a shared secret uses it. */
export function hmacSha1Hex(key: string, text: string): string {
  return createHmac("sha1", key).update(text, "utf8").digest("hex");
}
