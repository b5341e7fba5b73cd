/**
 * Password hashes as Synapse stores them: bcrypt (`$2b$`) of the password in normal form NFKC with the pepper after it.
 *
 * bcrypt sees the first 72 bytes only, so that much is kept, as in Synapse.
 */
import { bcrypt, bcryptVerify } from "hash-wasm";

const MAX_BYTES = 72;

/** Work for the password thread; `secret` is what `passwordBytes` returned. */
export type PasswordJob =
  | { readonly kind: "hash"; readonly secret: Uint8Array; readonly salt: Uint8Array; readonly rounds: number }
  | { readonly kind: "verify"; readonly secret: Uint8Array; readonly hash: string };

/** What of a password is hashed. */
export interface PasswordBytes {
  readonly bytes: Uint8Array;
  /** The length before it was cut. */
  readonly length: number;
  readonly isCut: boolean;
}

/** Returns what is hashed for a password. */
export function passwordBytes(password: string, pepper: string | null): PasswordBytes {
  const bytes = new TextEncoder().encode(password.normalize("NFKC") + (pepper ?? ""));
  return { bytes: bytes.slice(0, MAX_BYTES), length: bytes.length, isCut: bytes.length > MAX_BYTES };
}

/** Returns the hash in its usual notation. Takes about 250 ms at 12 rounds. */
export async function computeHash(
  { secret, salt, rounds }: { secret: Uint8Array; salt: Uint8Array; rounds: number },
): Promise<string> {
  const hash = await bcrypt({ password: secret, salt, costFactor: rounds, outputType: "encoded" });
  return hash.replace(/^\$2[a-z]?\$/, "$2b$");
}

/** Tells whether the hash is of the secret; false also for what is no bcrypt hash. */
export async function verifyHash({ secret, hash }: { secret: Uint8Array; hash: string }): Promise<boolean> {
  if (roundsOf(hash) === null) return false;
  return await bcryptVerify({ password: secret, hash });
}

/** Returns the cost of a bcrypt hash (2 to this power), or null when it is none. */
export function roundsOf(hash: string): number | null {
  const match = /^\$2[abxy]?\$(\d\d)\$[./A-Za-z0-9]{53}$/.exec(hash);
  const rounds = Number(match?.[1] ?? 0);
  return rounds >= 4 && rounds <= 31 ? rounds : null;
}
