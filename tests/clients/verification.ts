/** Two people compare emoji, as they would on the phone. */
import assert from "node:assert/strict";
import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import {
  type GeneratedSas,
  VerificationPhase,
  type VerificationRequest,
  VerificationRequestEvent,
  type Verifier,
  VerifierEvent,
} from "matrix-js-sdk/lib/crypto-api/verification.js";
import type { SdkUser } from "./sdk_client.ts";

const WAIT_MS = 60_000;
const SAS = "m.sas.v1";

/** Verifies two users with each other in a room by short authentication strings; returns what both saw. */
export async function verifyEachOther(
  { alice, bob, roomId }: { alice: SdkUser; bob: SdkUser; roomId: string },
): Promise<GeneratedSas> {
  const incoming = new Promise<VerificationRequest>((resolve) =>
    bob.client.once(CryptoEvent.VerificationRequestReceived, resolve)
  );
  const outgoing = await alice.crypto.requestVerificationDM(bob.id, roomId);
  const received = await within(incoming, "the request to arrive");
  assert.equal(received.otherUserId, alice.id);
  await received.accept();
  await phase(outgoing, VerificationPhase.Ready);
  const [ours, theirs] = await Promise.all([
    outgoing.startVerification(SAS),
    phase(received, VerificationPhase.Started).then(() => {
      assert.ok(received.verifier !== undefined);
      return received.verifier;
    }),
  ]);
  const shown = Promise.all([shownBy(ours), shownBy(theirs)]);
  const done = Promise.all([ours.verify(), theirs.verify()]);
  const [left, right] = await within(Promise.race([shown, done.then(() => shown)]), "the emoji");
  assert.deepEqual(left.sas.emoji, right.sas.emoji);
  await Promise.all([left.confirm(), right.confirm()]);
  await within(done, "the end of the verification");
  await Promise.all([phase(outgoing, VerificationPhase.Done), phase(received, VerificationPhase.Done)]);
  return left.sas;
}

function shownBy(verifier: Verifier): Promise<{ sas: GeneratedSas; confirm: () => Promise<void> }> {
  const shown = verifier.getShowSasCallbacks();
  return shown !== null
    ? Promise.resolve(shown)
    : new Promise((resolve) => verifier.once(VerifierEvent.ShowSas, resolve));
}

async function phase(request: VerificationRequest, wanted: VerificationPhase): Promise<void> {
  const reached = new Promise<void>((resolve, reject) => {
    const look = () => {
      if (request.phase === VerificationPhase.Cancelled) {
        reject(new Error(`The verification was cancelled: ${request.cancellationCode}`));
      } else if (request.phase >= wanted) {
        request.off(VerificationRequestEvent.Change, look);
        resolve();
      }
    };
    request.on(VerificationRequestEvent.Change, look);
    look();
  });
  await within(reached, `phase ${wanted} of the verification`);
}

async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited in vain for ${what}`)), WAIT_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
