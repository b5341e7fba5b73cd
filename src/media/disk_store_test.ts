import { deepEqual, equal, rejects } from "node:assert/strict";
import type { BlobPath } from "./blob_paths.ts";
import { DiskStore } from "./disk_store.ts";

const PATH = "local_content/aa/bb/cc" as BlobPath;

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-disk-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function* chunks(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield await Promise.resolve(new TextEncoder().encode(text));
}

async function* broken(): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode("half");
  await Promise.reject(new Error("broken off"));
}

async function textOf(stream: ReadableStream<Uint8Array> | null): Promise<string | null> {
  return stream === null ? null : await new Response(stream).text();
}

Deno.test("put() keeps a file, read() returns it or a part of it", () =>
  inFolder(async (folder) => {
    const store = await DiskStore.open(`${folder}/new/store`, { unfinishedBefore: 0 });
    equal(await store.read(PATH), null);
    await store.put(PATH, chunks("hello, ", "", "world"));
    equal(await textOf(await store.read(PATH)), "hello, world");
    equal(await textOf(await store.read(PATH, { start: 3, end: 8 })), "lo, w");
    equal(await textOf(await store.read(PATH, { start: 0, end: 0 })), "");
    const unread = await store.read(PATH);
    await unread?.cancel();
    await store.delete(PATH);
    await store.delete(PATH);
    equal(await store.read(PATH), null);
  }));

Deno.test("put() that breaks off leaves nothing and keeps what was there", () =>
  inFolder(async (folder) => {
    const store = await DiskStore.open(folder, { unfinishedBefore: 0 });
    await rejects(store.put(PATH, broken()), /broken off/);
    equal(await store.read(PATH), null);
    await store.put(PATH, chunks("first"));
    await rejects(store.put(PATH, broken()), /broken off/);
    equal(await textOf(await store.read(PATH)), "first");
    deepEqual(await Array.fromAsync(Deno.readDir(`${folder}/tmp`)), []);
  }));

Deno.test("open() removes what a killed process left, and not what another one is writing", () =>
  inFolder(async (folder) => {
    await DiskStore.open(folder, { unfinishedBefore: 0 });
    for (const [name, seconds] of [["old", 1_000], ["young", 3_000]] as const) {
      await Deno.writeTextFile(`${folder}/tmp/${name}`, "half");
      await Deno.utime(`${folder}/tmp/${name}`, seconds, seconds);
    }
    await DiskStore.open(folder, { unfinishedBefore: 2_000_000 });
    deepEqual((await Array.fromAsync(Deno.readDir(`${folder}/tmp`))).map(({ name }) => name), ["young"]);
  }));

Deno.test("deleteFolder() removes everything below, and only that", () =>
  inFolder(async (folder) => {
    const store = await DiskStore.open(folder, { unfinishedBefore: 0 });
    const [inside, beside] = ["local_thumbnails/aa/bb/cc/1" as BlobPath, "local_thumbnails/aa/bb/ccc/1" as BlobPath];
    for (const path of [inside, beside]) await store.put(path, chunks("x"));
    await store.deleteFolder("local_thumbnails/aa/bb/cc" as BlobPath);
    await store.deleteFolder("local_thumbnails/aa/bb/cc" as BlobPath);
    deepEqual([await textOf(await store.read(inside)), await textOf(await store.read(beside))], [null, "x"]);
  }));
