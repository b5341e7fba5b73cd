/** JSON Web Tokens and their keys, loaded with the first one. */
import { createPublicKey, type KeyObject } from "node:crypto";

export type { JWTPayload } from "jose";

/** The module. */
export type Jose = typeof import("jose");

/** Returns the module. */
export function loadJose(): Promise<Jose> {
  return import("jose");
}

/** Returns the key that checks signatures of an algorithm: a shared secret, or a public key or certificate as PEM. */
export function verificationKey(algorithm: string, text: string): Uint8Array | KeyObject {
  return algorithm.startsWith("HS") ? new TextEncoder().encode(text) : createPublicKey(text);
}
