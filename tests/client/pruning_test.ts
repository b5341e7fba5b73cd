import assert from "node:assert/strict";
import { sql } from "../../src/storage/sql.ts";
import { path } from "../harness/client.ts";
import { testEachDatabase } from "../harness/databases.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { freePages } from "../../src/storage/free_pages.ts";

const DAY_MS = 86_400_000;

async function storedText(hs: TestServer, eventId: string): Promise<string> {
  const row = await hs.parts.core.db.get<{ json: string }>(sql`
    SELECT json FROM event_json JOIN events ON events.event_nid = event_json.event_nid WHERE event_id = ${eventId}`);
  return row?.json ?? "";
}

/** Lets time pass until the condition holds; what runs from time to time runs. */
async function passTime(clock: FakeClock, isDone: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 20_000;
  while (!await isDone()) {
    assert.ok(performance.now() < end, "time is up");
    clock.advance(300_000);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

testEachServer("what a redaction took away is deleted for good after redaction_retention_period", async (database) => {
  const clock = new FakeClock();
  await using hs = await TestServer.start({ database, clock, config: { redaction_retention_period: "7d" } });
  const [alice] = await hs.register("alice");
  const room = await alice.createRoom();
  const [gone, kept] = [await alice.sendText(room, "a secret"), await alice.sendText(room, "no secret")];
  await alice.put(path`/rooms/${room}/redact/${gone}/txn1`, { reason: "said too much" });
  clock.advance(DAY_MS);
  const young = await alice.sendText(room, "a fresh secret");
  await alice.put(path`/rooms/${room}/redact/${young}/txn2`);
  assert.match(await storedText(hs, gone), /a secret/);
  clock.advance(6 * DAY_MS);
  await passTime(clock, async () => !(await storedText(hs, gone)).includes("a secret"));
  assert.match(await storedText(hs, young), /a fresh secret/);
  assert.match(await storedText(hs, kept), /no secret/);
  const event = await alice.get(path`/rooms/${room}/event/${gone}`);
  assert.deepEqual(event.content, {});
  assert.equal(event.unsigned.redacted_because.content.reason, "said too much");
  assert.equal((await alice.get(path`/rooms/${room}/event/${kept}`)).content.body, "no secret");
  const query = { "fi.mau.msc2815.include_unredacted_content": true };
  const deleted = { status: 404, errcode: "FI.MAU.MSC2815_UNREDACTED_CONTENT_DELETED" };
  await alice.fails("GET", path`/rooms/${room}/event/${gone}`, { query, ...deleted });
  assert.equal((await alice.get(path`/rooms/${room}/event/${young}`, query)).content.body, "a fresh secret");
  await passTime(clock, async () => !(await storedText(hs, young)).includes("a fresh secret"));
  // The room goes on: its events are still what was signed and hashed, as far as redactions leave it.
  await hs.restart();
  const again = hs.again(alice);
  await again.sendText(room, "after the pruning");
  assert.equal(
    (await again.get(path`/rooms/${room}/messages`, { dir: "b", limit: "50" })).chunk[0].content.body,
    "after the pruning",
  );
});

testEachServer(
  "devices that were not seen for delete_stale_devices_after are logged out, others stay",
  async (database) => {
    const clock = new FakeClock();
    await using hs = await TestServer.start({ database, clock, config: { delete_stale_devices_after: "30d" } });
    const [alice] = await hs.register("alice");
    const stale = await alice.anotherDevice("STALE");
    await stale.get("/account/whoami");
    clock.advance(6_000);
    const { db } = hs.parts.core;
    const seen = async () =>
      (await db.get(sql`SELECT 1 AS one FROM devices WHERE device_id = 'STALE' AND last_seen_ts IS NOT NULL`)) !== null;
    await passTime(clock, seen);
    clock.advance(29 * DAY_MS);
    await alice.get("/account/whoami");
    const names = async () =>
      (await alice.get("/devices")).devices.map(({ device_id }: { device_id: string }) => device_id);
    assert.ok((await names()).includes("STALE"));
    await passTime(clock, async () => !(await names()).includes("STALE"));
    assert.deepEqual(await names(), [alice.deviceId]);
    await stale.fails("GET", "/account/whoami", { status: 401, errcode: "M_UNKNOWN_TOKEN" });
  },
);

testEachDatabase("free pages of an SQLite file go back to the disk", async (db) => {
  if (db.dialect !== "sqlite") return;
  const pages = async () => {
    const row = await db.get<{ n: number }>(sql`SELECT page_count AS n FROM pragma_page_count`);
    return row?.n ?? 0;
  };
  const text = "x".repeat(3_000);
  await db.transaction(async (tx) => {
    for (let i = 0; i < 4_000; i++) {
      await tx.run(sql`INSERT INTO server_meta (name, value) VALUES (${`n${i}`}, ${text})`);
    }
  });
  await db.transaction(async (tx) => {
    await tx.run(sql`DELETE FROM server_meta`);
  });
  const before = await pages();
  const freed = await freePages(db, new AbortController().signal);
  assert.ok(freed > 1_000, String(freed));
  assert.ok(await pages() <= before - freed + 200, `${before} ${await pages()}`);
  assert.equal(await freePages(db, new AbortController().signal), 0);
});
