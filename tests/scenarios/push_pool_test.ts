/** What the pool of pushers hands to deliveries: every room with news, together with how far the news reach. */
import assert from "node:assert/strict";
import type { UserId } from "../../src/protocol/ids.ts";
import { upsertCursor } from "../../src/storage/consumers.ts";
import { upsertPusher } from "../../src/storage/pushers.ts";
import { sql } from "../../src/storage/sql.ts";
import { Notifier, type StreamPositions, STREAMS } from "../../src/streams/notifier.ts";
import { getLogger } from "../../src/lib/log.ts";
import type { PusherState } from "../../src/workers/push_delivery.ts";
import { PushPool } from "../../src/workers/push_pool.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { testEachDatabase } from "../harness/databases.ts";

const BOB = "@bob:hs.test" as UserId;

/** Remembers what it was asked to deliver. */
class Deliveries {
  readonly done: { rooms: number[] | null; upTo: number }[] = [];
  #came: () => void = () => {};

  readonly run = (state: PusherState, { upTo }: { upTo: number }): Promise<boolean> => {
    this.done.push({ rooms: state.rooms === null ? null : [...state.rooms], upTo });
    state.rooms = new Set();
    this.#came();
    return Promise.resolve(true);
  };

  async until(count: number): Promise<void> {
    while (this.done.length < count) await new Promise<void>((resolve) => this.#came = resolve);
  }
}

testEachDatabase("a delivery that begins while news are looked at loses none of them", async (db) => {
  const pusher = { appId: "app", pushkey: "key", kind: "http", appDisplayName: "App", deviceDisplayName: "Phone" };
  await db.transaction(async (tx) => {
    const rest = { lang: "en", profileTag: "", data: {}, deviceId: null, isEnabled: true, pushkeyTs: 0, cursor: 0 };
    await upsertPusher(tx, { userId: BOB, ...pusher, ...rest });
    await upsertCursor(tx, { consumer: "pushers", position: 0 });
    for (const roomNid of [1, 2]) {
      await tx.run(sql`
        INSERT INTO room_notifications (room_nid, position, sender, thread_id, highlight, actions)
        VALUES (${roomNid}, ${roomNid}, '@alice:hs.test', '', ${false}, '[]')`);
    }
  });
  const notifier = new Notifier(Object.fromEntries(STREAMS.map((stream) => [stream, 0])) as StreamPositions);
  const delivery = new Deliveries();
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  let rooms = 0;
  const pool = new PushPool({
    ...{ db, notifier, delivery, mail: delivery, clock: new FakeClock(), log: getLogger("test") },
    badges: { noteRead: () => {} },
    gateways: { [Symbol.asyncDispose]: () => Promise.resolve() },
    localJoined: async () => {
      if (++rooms === 2) {
        asked.resolve();
        await answer.promise;
      }
      return new Set([BOB]);
    },
  });
  await using _pool = pool;
  await pool.start();
  notifier.publish("events", 2, []);
  await asked.promise;
  pool.reload(BOB);
  await delivery.until(1);
  answer.resolve();
  await delivery.until(2);
  const last = delivery.done.at(-1);
  assert.deepEqual({ rooms: last?.rooms?.sort(), upTo: last?.upTo }, { rooms: [1, 2], upTo: 2 });
});
