/** Encrypted attachments as clients make them. Spec: client-server API, "Sending encrypted attachments". */

/** What a message needs to tell about an encrypted file, besides where it is. */
export interface FileSecrets {
  readonly v: "v2";
  readonly key: JsonWebKey;
  readonly iv: string;
  readonly hashes: { readonly sha256: string };
}

const ALGORITHM = "AES-CTR";

/** Encrypts a file with a key of its own. */
export async function encryptFile(
  plain: Uint8Array<ArrayBuffer>,
): Promise<{ cipher: Uint8Array<ArrayBuffer>; secrets: FileSecrets }> {
  const key = await crypto.subtle.generateKey({ name: ALGORITHM, length: 256 }, true, ["encrypt", "decrypt"]);
  const counter = new Uint8Array(16);
  crypto.getRandomValues(counter.subarray(0, 8));
  const cipher = new Uint8Array(await crypto.subtle.encrypt({ name: ALGORITHM, counter, length: 64 }, key, plain));
  const secrets: FileSecrets = {
    v: "v2",
    key: await crypto.subtle.exportKey("jwk", key),
    iv: unpadded(counter),
    hashes: { sha256: await digest(cipher) },
  };
  return { cipher, secrets };
}

/** Decrypts a file; throws when it is not what was sent. */
export async function decryptFile(
  cipher: Uint8Array<ArrayBuffer>,
  { key: jwk, iv, hashes }: FileSecrets,
): Promise<Uint8Array> {
  if (await digest(cipher) !== hashes.sha256) throw new Error("The file is not the one that was sent");
  const key = await crypto.subtle.importKey("jwk", jwk, { name: ALGORITHM }, false, ["decrypt"]);
  const counter = Uint8Array.fromBase64(iv);
  return new Uint8Array(await crypto.subtle.decrypt({ name: ALGORITHM, counter, length: 64 }, key, cipher));
}

async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return unpadded(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

function unpadded(bytes: Uint8Array): string {
  return bytes.toBase64({ omitPadding: true });
}
