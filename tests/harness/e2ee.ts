/** Keys as clients make them, with real signatures. */
import { generateKeyPairSync, sign } from "node:crypto";
import { canonicalJson } from "../../src/protocol/canonical_json.ts";
import type { Json, TestClient } from "./client.ts";

/** An Ed25519 key. */
export class TestKey {
  readonly publicKey: string;
  readonly #sign: (text: string) => string;

  constructor() {
    const pair = generateKeyPairSync("ed25519");
    const unpadded = (bytes: Uint8Array) => bytes.toBase64({ omitPadding: true });
    this.publicKey = unpadded(new Uint8Array(pair.publicKey.export({ format: "der", type: "spki" }).subarray(12)));
    this.#sign = (text) => unpadded(new Uint8Array(sign(null, new TextEncoder().encode(text), pair.privateKey)));
  }

  /** Returns the object with this key's signature added. `name` is what follows `ed25519:`. */
  signed(object: Json, { userId, name = this.publicKey }: { userId: string; name?: string }): Json {
    const { signatures = {}, unsigned: _unsigned, ...rest } = object;
    const signature = this.#sign(canonicalJson(rest));
    return {
      ...rest,
      signatures: { ...signatures, [userId]: { ...signatures[userId], [`ed25519:${name}`]: signature } },
    };
  }
}

/** A device's identity keys. */
export interface DeviceIdentity {
  readonly key: TestKey;
  readonly keys: Json;
}

/** Makes the identity keys of a client's device; nothing is uploaded. */
export function deviceIdentity({ userId, deviceId }: TestClient): DeviceIdentity {
  const key = new TestKey();
  const keys = {
    user_id: userId,
    device_id: deviceId,
    algorithms: ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
    keys: { [`curve25519:${deviceId}`]: new TestKey().publicKey, [`ed25519:${deviceId}`]: key.publicKey },
  };
  return { key, keys: key.signed(keys, { userId, name: deviceId }) };
}

/** Uploads identity keys for a client's device. */
export async function uploadDevice(client: TestClient): Promise<DeviceIdentity> {
  const identity = deviceIdentity(client);
  await client.post("/keys/upload", { device_keys: identity.keys });
  return identity;
}

/** A user's three cross-signing keys. */
export interface CrossSigningIdentity {
  readonly master: TestKey;
  readonly selfSigning: TestKey;
  readonly userSigning: TestKey;
  /** The body of `POST /keys/device_signing/upload`. */
  readonly upload: Json;
}

/** Makes cross-signing keys; nothing is uploaded. */
export function crossSigningIdentity(userId: string): CrossSigningIdentity {
  const [master, selfSigning, userSigning] = [new TestKey(), new TestKey(), new TestKey()];
  const object = (usage: string, { publicKey }: TestKey) => ({
    user_id: userId,
    usage: [usage],
    keys: { [`ed25519:${publicKey}`]: publicKey },
  });
  const upload = {
    master_key: object("master", master),
    self_signing_key: master.signed(object("self_signing", selfSigning), { userId }),
    user_signing_key: master.signed(object("user_signing", userSigning), { userId }),
  };
  return { master, selfSigning, userSigning, upload };
}
