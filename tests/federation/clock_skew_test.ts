/**
 * Keys where the clocks of two servers differ. Spec: server-server API, "Publishing Keys" (`valid_until_ts`), and "Signing
 * key validity period" of room version 5.
 */
import assert from "node:assert/strict";
import { signed } from "../../src/http/federation/signed.ts";
import { json } from "../../src/http/middleware/responses.ts";
import type { RoomVersionId } from "../../src/protocol/room_versions.ts";
import { verifyJson } from "../../src/protocol/signatures.ts";
import { testEachDatabase } from "../harness/databases.ts";
import { signerOf, TestClock } from "./environment.ts";
import { askAs, eventBy, type Inbound, keyDocument, peerSigner, startInbound } from "./inbound.ts";
import { type Peer, startPeer } from "./peer.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const PING = "/_matrix/federation/v1/ping";

interface Scene {
  readonly inbound: Inbound;
  readonly peer: Peer;
  readonly clock: TestClock;
  /** What the other server's clock shows. */
  readonly theirs: () => number;
  /** Asks as the other server; returns the status and what is wrong. */
  readonly ask: () => Promise<[number, string | undefined]>;
  /** Whether an event of the other server counts as signed. */
  readonly accepts: (version: RoomVersionId, ts: number) => Promise<boolean>;
}

/** Runs a test with a server whose clock is ahead of ours by `skewMs`, and whose keys are valid for a day by it. */
// deno-lint-ignore synapse-ts/max-positional -- reads as the test functions do
function testSkew(title: string, skewMs: number, body: (scene: Scene) => Promise<void>): void {
  testEachDatabase(title, async (db) => {
    await using peer = await startPeer();
    const clock = new TestClock();
    const theirs = () => clock.now() + skewMs;
    const signer = peerSigner(peer.port);
    peer.handler = () => ({ json: keyDocument(signer, { validUntilTs: theirs() + DAY }) });
    await using inbound = await startInbound({
      ...{ db, clock },
      routes: (app, { auth }) => void signed(app, auth).get("/v1/ping", () => json({})),
    });
    const ask = async (): Promise<[number, string | undefined]> => {
      const { status, body } = await askAs(signer, inbound, { path: PING });
      return [status, body.errcode];
    };
    const accepts = async (version: RoomVersionId, ts: number) =>
      await inbound.parts.checks.event(eventBy(signer, { version, ts })) === null;
    await body({ inbound, peer, clock, theirs, ask, accepts });
  });
}

testSkew("a clock that is hours slow does no harm while the keys are valid", -12 * HOUR, async (scene) => {
  const { ask, accepts, theirs, clock, peer } = scene;
  assert.deepEqual(await ask(), [200, undefined]);
  assert(await accepts("11", theirs()));
  assert(await accepts("11", clock.now()), "by our clock it is valid for twelve hours yet");
  clock.advance(12 * HOUR);
  assert.deepEqual(await ask(), [200, undefined]);
  assert.equal(peer.requests.length, 1);
  clock.advance(1);
  assert.deepEqual(await ask(), [200, undefined], "it is fetched anew, and valid for another twelve hours");
  assert.equal(peer.requests.length, 2);
});

testSkew("a clock that is fast may date events as far ahead as the keys are valid", 12 * HOUR, async (scene) => {
  const { ask, accepts, theirs, clock, peer } = scene;
  assert.deepEqual(await ask(), [200, undefined]);
  assert(await accepts("11", theirs()));
  assert(await accepts("11", clock.now() + 36 * HOUR));
  assert.equal(peer.requests.length, 1);
  assert(!await accepts("11", clock.now() + 36 * HOUR + 1), "also the key fetched anew is not valid then");
  assert.equal(peer.requests.length, 2);
  assert(await accepts("4", clock.now() + 36 * HOUR + 1), "room version 4 does not ask when");
});

testSkew(
  "keys that have run out by our clock are good for events of their time and for no request",
  -2 * DAY,
  async (scene) => {
    const { ask, accepts, theirs, clock, peer } = scene;
    assert.deepEqual(await ask(), [401, "M_UNAUTHORIZED"]);
    assert(await accepts("11", theirs()), "the server vouches for it by its own clock");
    assert(await accepts("5", theirs() + DAY));
    assert.equal(peer.requests.length, 1);
    assert(!await accepts("5", clock.now()));
    assert(await accepts("4", clock.now()));
    // However often it asks, it is asked for its keys only now and then.
    for (let count = 0; count < 20; count++) assert.deepEqual(await ask(), [401, "M_UNAUTHORIZED"]);
    assert(peer.requests.length <= 2);
  },
);

testSkew("keys are found also after our own clock was a year fast and was put right", 0, async (scene) => {
  const { inbound, peer, clock, ask, accepts } = scene;
  const usual = peer.handler;
  clock.correct(365 * DAY);
  peer.handler = () => ({ status: 500 });
  for (let count = 0; count < 10; count++) {
    assert.deepEqual(await ask(), [401, "M_UNAUTHORIZED"]);
    clock.advance(1_000);
  }
  assert((await inbound.fetch("/_matrix/key/v2/server")).body.valid_until_ts > clock.now());
  clock.correct(-365 * DAY);
  clock.advance(30_000);
  peer.handler = usual;
  assert.deepEqual(await ask(), [200, undefined]);
  assert(await accepts("11", clock.now()));
  const { status, body } = await inbound.fetch("/_matrix/key/v2/server");
  assert.equal(status, 200);
  assert(verifyJson(body, { serverName: "own.test", keyId: "ed25519:1", key: signerOf("own.test").key.verifyKey }));
  assert(body.valid_until_ts <= clock.now() + DAY, "nobody is to keep our key for a year");
});
