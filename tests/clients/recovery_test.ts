/** A real client keeps its keys on the server; another device gets them back with nothing but the recovery key. */
import assert from "node:assert/strict";
import { type MatrixEvent, Method } from "matrix-js-sdk";
import type { CryptoCallbacks } from "matrix-js-sdk/lib/crypto-api/index.js";
import { testEachServer, TestServer } from "../harness/server.ts";
import { enterEncryptedRoom, SdkUser } from "./sdk_client.ts";

/** What a person writes down: the key of the secret storage. */
class RecoveryKey {
  #key: Uint8Array<ArrayBuffer> | null = null;

  /** Hands the key to a client whenever it asks. */
  readonly callbacks: CryptoCallbacks = {
    getSecretStorageKey: ({ keys }) => {
      const [id] = Object.keys(keys);
      return Promise.resolve(id === undefined || this.#key === null ? null : [id, this.#key]);
    },
    cacheSecretStorageKey: (_id, _info, key) => {
      this.#key = key as Uint8Array<ArrayBuffer>;
    },
  };

  /** Sets up secret storage and the key backup. */
  async setUp(user: SdkUser): Promise<void> {
    const { crypto } = user;
    await user.until("its cross-signing", () => crypto.isCrossSigningReady());
    await crypto.bootstrapSecretStorage({
      createSecretStorageKey: () => crypto.createRecoveryKeyFromPassphrase("a phrase to remember"),
      setupNewSecretStorage: true,
      setupNewKeyBackup: true,
    });
  }
}

/** Makes a new device a trusted one by the recovery key. */
async function prove({ crypto, id }: SdkUser): Promise<void> {
  assert.equal(await crypto.userHasCrossSigningKeys(id, true), true);
  await crypto.bootstrapCrossSigning({});
}

/** Returns a message once the device can read it. */
async function readable(user: SdkUser, { roomId, body }: { roomId: string; body: string }): Promise<MatrixEvent> {
  const shows = (event: MatrixEvent) => event.isEncrypted() && event.getClearContent()?.body === body;
  return await user.until(`"${body}" in clear`, () => user.events(roomId).find(shows));
}

testEachServer("matrix-js-sdk recovers its messages on a fresh device from the key backup", async (database) => {
  await using hs = await TestServer.start({ database });
  const recovery = new RecoveryKey();
  await using bob = await SdkUser.register(hs.base, "bob");
  await using alice = await SdkUser.register(hs.base, "alice", { cryptoCallbacks: recovery.callbacks });
  await recovery.setUp(alice);
  const roomId = await enterEncryptedRoom(alice, bob);
  await bob.client.sendTextMessage(roomId, "for later");
  await readable(alice, { roomId, body: "for later" });
  await alice.client.sendTextMessage(roomId, "of mine");
  await bob.until("her message", () => bob.texts(roomId).includes("of mine"));
  await alice.until("the backup to be complete", async () => {
    const path = "/room_keys/version";
    return (await alice.client.http.authedRequest<{ count: number }>(Method.Get, path)).count === 2;
  });

  await using fresh = await SdkUser.logIn(hs.base, "alice", { cryptoCallbacks: recovery.callbacks });
  await fresh.until("the room", () => fresh.events(roomId).length > 0);
  assert.equal(fresh.texts(roomId).includes("for later"), false);
  await prove(fresh);
  await bob.until("the new device to be signed by its owner", async () => {
    const status = await bob.crypto.getDeviceVerificationStatus(alice.id, String(fresh.client.getDeviceId()));
    return status?.signedByOwner;
  });
  await fresh.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
  assert.ok(await fresh.crypto.checkKeyBackupAndEnable() !== null);
  const { total, imported } = await fresh.crypto.restoreKeyBackup();
  assert.deepEqual([total, imported], [2, 2]);
  for (const event of fresh.events(roomId)) await fresh.client.decryptEventIfNeeded(event, { isRetry: true });
  for (const body of ["for later", "of mine"]) await readable(fresh, { roomId, body });
});

testEachServer(
  "matrix-js-sdk reads what was said while no device was logged in, by a dehydrated one",
  async (database) => {
    await using hs = await TestServer.start({ database });
    const recovery = new RecoveryKey();
    await using bob = await SdkUser.register(hs.base, "bob");
    let roomId: string;
    {
      await using alice = await SdkUser.register(hs.base, "alice", { cryptoCallbacks: recovery.callbacks });
      await recovery.setUp(alice);
      assert.equal(await alice.crypto.isDehydrationSupported(), true);
      await alice.crypto.startDehydration({ createNewKey: true });
      roomId = await enterEncryptedRoom(alice, bob);
      await alice.client.logout(true);
    }
    // Bob has to learn of the dehydrated device before he sends.
    await bob.until("only the dehydrated device to be left", async () => {
      const devices = (await bob.crypto.getUserDeviceInfo([`@alice:hs.test`], true)).get("@alice:hs.test");
      return devices?.size === 1 && [...devices.values()][0]?.dehydrated === true;
    });
    await bob.client.sendTextMessage(roomId, "while you were out");

    await using fresh = await SdkUser.logIn(hs.base, "alice", { cryptoCallbacks: recovery.callbacks });
    await fresh.until("the room", () => fresh.events(roomId).some((event) => event.isEncrypted()));
    await prove(fresh);
    await fresh.crypto.startDehydration();
    await readable(fresh, { roomId, body: "while you were out" });
  },
);
