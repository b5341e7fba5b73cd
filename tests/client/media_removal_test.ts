import { deepEqual, equal, rejects } from "node:assert/strict";
import { sql } from "../../src/storage/sql.ts";
import { PNG } from "../fixtures/images.ts";
import { MEDIA_SERVER, type MediaUser, testMedia } from "../harness/media.ts";

function keyOf(mediaId: string): { origin: typeof MEDIA_SERVER; mediaId: string } {
  return { origin: MEDIA_SERVER, mediaId };
}

async function status(user: MediaUser, mediaId: string): Promise<number> {
  const response = await user.download(mediaId);
  await response.body?.cancel();
  return response.status;
}

async function fileCount(folder: string): Promise<number> {
  let count = 0;
  for await (const entry of Deno.readDir(folder)) {
    count += entry.isDirectory ? await fileCount(`${folder}/${entry.name}`) : 1;
  }
  return count;
}

testMedia("quarantine hides a file and all with its content, past and future", async (start) => {
  await using hs = await start();
  const [alice, admin] = [await hs.register("alice"), await hs.register("admin", { isAdmin: true })];
  const [first, same, other] = [await alice.upload("bad"), await alice.upload("bad"), await alice.upload("good")];
  equal(await hs.media.quarantine.hide([keyOf(first)], admin.userId), 2);
  const later = await alice.upload("bad");
  deepEqual(await Promise.all([first, same, later, other].map((id) => status(alice, id))), [404, 404, 404, 200]);
  const thumbnail = await admin.fetch(`/_matrix/client/v1/media/thumbnail/${MEDIA_SERVER}/${first}?width=1&height=1`);
  equal((await thumbnail.json()).errcode, "M_NOT_FOUND");
  const bypass = "?admin_unsafely_bypass_quarantine=true";
  deepEqual([await status(alice, first + bypass), await status(admin, first + bypass)], [400, 200]);
  equal(await hs.media.quarantine.show(keyOf(first)), 3);
  deepEqual(await Promise.all([first, same, later].map((id) => status(alice, id))), [200, 200, 200]);
});

testMedia("protected files are not quarantined", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const [safe, plain] = [await alice.upload("one"), await alice.upload("two")];
  equal(await hs.media.quarantine.setSafe(keyOf(safe), true), true);
  equal(await hs.media.quarantine.setSafe(keyOf("unknown"), true), false);
  equal(await hs.media.quarantine.hideAllOf(alice.userId, alice.userId), 1);
  deepEqual([await status(alice, safe), await status(alice, plain)], [200, 404]);
});

testMedia("deleting a file takes its thumbnails with it", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const mediaId = await alice.upload(PNG, { type: "image/png" });
  await (await alice.fetch(`/_matrix/client/v1/media/thumbnail/${MEDIA_SERVER}/${mediaId}?width=1&height=1`)).bytes();
  equal(await hs.media.removal.delete(keyOf(mediaId)), true);
  equal(await hs.media.removal.delete(keyOf(mediaId)), false);
  equal(await status(alice, mediaId), 404);
  equal(await fileCount(`${hs.folder}/media_store`), 0);
});

testMedia("a thumbnail that is made of a file while that is deleted leaves nothing behind", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const mediaId = await alice.upload(PNG, { type: "image/png" });
  const { media } = hs;
  const found = await media.downloads.find(keyOf(mediaId), {
    ...{ timeoutMs: 0, isAuthenticated: true, allowRemote: false, clientIp: null },
    signal: new AbortController().signal,
  });
  // The file is read by who makes the thumbnail, and deleted before that is kept.
  const { open } = media.downloads;
  media.downloads.open = async (...args) => {
    const stream = await open.apply(media.downloads, args);
    await media.removal.delete(keyOf(mediaId));
    return stream;
  };
  const size = { width: 32, height: 32, method: "crop" } as const;
  await rejects(media.thumbnails.find(found, { size, isAnimated: false }), { errcode: "M_NOT_FOUND" });
  equal(await fileCount(`${hs.folder}/media_store`), 0);
  equal((await hs.db.all(sql`SELECT media_id FROM media_thumbnails LIMIT 1`)).length, 0);
});

testMedia("media_retention deletes what was not used for long, and nothing else", async (start) => {
  let offset = 0;
  const clock = {
    now: () => 1_700_000_000_000 + offset,
    monotonic: () => performance.now(),
    sleep: () => new Promise<void>(() => {}),
  };
  await using hs = await start({ clock, config: { media_retention: { local_media_lifetime: "30d" } } });
  const alice = await hs.register("alice");
  const [unused, used, safe, hidden] = [
    await alice.upload("unused"),
    await alice.upload("used"),
    await alice.upload("safe"),
    await alice.upload("hidden"),
  ];
  await hs.media.quarantine.setSafe(keyOf(safe), true);
  await hs.media.quarantine.hide([keyOf(hidden)], alice.userId);
  offset = 20 * 86_400_000;
  equal(await status(alice, used), 200);
  await hs.media.tick();
  offset = 31 * 86_400_000;
  await hs.media.tick();
  deepEqual(await Promise.all([unused, used, safe].map((id) => status(alice, id))), [404, 200, 200]);
  equal(await fileCount(`${hs.folder}/media_store`), 3);
});
