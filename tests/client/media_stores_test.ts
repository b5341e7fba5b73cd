import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { createHash } from "node:crypto";
import { signRequest } from "../../src/media/s3_signature.ts";
import { PNG } from "../fixtures/images.ts";
import { MEDIA_SERVER, type MediaServerOptions, type MediaUser, testMedia } from "../harness/media.ts";

const CREDENTIALS = {
  accessKeyId: "test-key",
  secretAccessKey: "test/secret",
  sessionToken: null,
  region: "eu-test-1",
};

/** A bucket that checks signatures and keeps objects in memory. */
class Bucket implements AsyncDisposable {
  readonly objects = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  /** Answers so many requests with 503 first. */
  failures = 0;

  constructor() {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      (request) => this.#answer(request),
    );
  }

  config(extra: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
    return {
      module: "s3_storage_provider.S3StorageProviderBackend",
      store_local: true,
      store_remote: true,
      ...extra,
      config: {
        bucket: "media",
        endpoint_url: `http://127.0.0.1:${this.#server.addr.port}`,
        region_name: CREDENTIALS.region,
        access_key_id: CREDENTIALS.accessKeyId,
        secret_access_key: CREDENTIALS.secretAccessKey,
        prefix: "hs",
      },
    };
  }

  async #answer(request: Request): Promise<Response> {
    const body = await request.bytes();
    const refusal = this.#refusal(request, body);
    if (refusal !== null) return refusal;
    const url = new URL(request.url);
    const name = decodeURIComponent(url.pathname.replace(/^\/media\/?/, ""));
    if (request.method === "PUT") this.objects.set(name, body);
    if (request.method === "DELETE") return new Response(null, { status: this.objects.delete(name) ? 204 : 404 });
    if (request.method !== "GET") return new Response(null, { status: 200 });
    if (name === "") return this.#listing(url.searchParams.get("prefix") ?? "");
    const object = this.objects.get(name);
    if (object === undefined) return new Response("<Error/>", { status: 404 });
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
    if (range === null) return new Response(object);
    return new Response(object.slice(Number(range[1]), Number(range[2]) + 1), { status: 206 });
  }

  #refusal(request: Request, body: Uint8Array): Response | null {
    if (this.failures-- > 0) return new Response("busy", { status: 503 });
    const sent = Object.fromEntries(request.headers);
    const names = /SignedHeaders=([^,]+)/.exec(sent.authorization ?? "")?.[1]?.split(";") ?? [];
    const headers = Object.fromEntries(names.map((name) => [name, sent[name] ?? ""]));
    const time = (sent["x-amz-date"] ?? "").replace(/^(....)(..)(..T..)(..)(..Z)$/, "$1-$2-$3:$4:$5");
    const payload = createHash("sha256").update(body).digest("hex");
    const { method } = request;
    const signed = signRequest(
      { method, url: new URL(request.url), headers, payload, now: Date.parse(time) },
      CREDENTIALS,
    );
    return signed.authorization === sent.authorization ? null : new Response("signature", { status: 403 });
  }

  #listing(prefix: string): Response {
    const names = [...this.objects.keys()].filter((name) => name.startsWith(prefix)).slice(0, 2);
    return new Response(`<R>${names.map((name) => `<Contents><Key>${name}</Key></Contents>`).join("")}</R>`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

function withProvider(provider: Record<string, unknown>, usesDisk: boolean): MediaServerOptions {
  return { config: { media_storage_providers: [provider], enable_local_media_storage: usesDisk } };
}

async function thumbnail(user: MediaUser, mediaId: string): Promise<number> {
  const path = `/_matrix/client/v1/media/thumbnail/${MEDIA_SERVER}/${mediaId}?width=32&height=32&animated=true`;
  const response = await user.fetch(path);
  await response.bytes();
  return response.status;
}

async function localFiles(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) found.push(...await localFiles(path));
    else found.push(path);
  }
  return found;
}

testMedia("media can live in a bucket alone", async (start) => {
  await using bucket = new Bucket();
  await using hs = await start(withProvider(bucket.config(), false));
  const alice = await hs.register("alice");
  const bytes = new Uint8Array(300_000).map((_, i) => i * 7);
  const mediaId = await alice.upload(bytes, { type: "video/mp4" });
  const [name = ""] = [...bucket.objects.keys()];
  match(name, /^hs\/local_content\/..\/..\/.{20}$/);
  deepEqual(await (await alice.download(mediaId)).bytes(), bytes);
  const part = await alice.download(mediaId, { headers: { range: "bytes=1000-1999" } });
  equal(part.status, 206);
  deepEqual(await part.bytes(), bytes.slice(1000, 2000));
  equal(await (await alice.download(await alice.upload(""))).text(), "");
  equal(await thumbnail(alice, await alice.upload(PNG, { type: "image/png" })), 200);
  await hs.media.removal.delete({ origin: MEDIA_SERVER, mediaId });
  ok(!bucket.objects.has(name));
  deepEqual(await localFiles(hs.folder), []);
});

testMedia("a bucket behind the disk gives back what the disk has lost", async (start) => {
  await using bucket = new Bucket();
  await using hs = await start(withProvider(bucket.config({ store_synchronous: true }), true));
  const alice = await hs.register("alice");
  const mediaId = await alice.upload("precious");
  equal(bucket.objects.size, 1);
  for (const path of await localFiles(hs.folder)) await Deno.remove(path);
  bucket.failures = 2;
  equal(await (await alice.download(mediaId)).text(), "precious");
  equal((await localFiles(hs.folder)).length, 1);
});

testMedia("an upload that does not reach a synchronous bucket is no upload", async (start) => {
  await using bucket = new Bucket();
  await using hs = await start(withProvider(bucket.config({ store_synchronous: true }), true));
  const alice = await hs.register("alice");
  bucket.failures = 100;
  const response = await alice.fetch("/_matrix/media/v3/upload", { method: "POST", body: "x" });
  equal(response.status, 500);
  equal((await response.json()).errcode, "M_UNKNOWN");
  deepEqual(await localFiles(hs.folder), []);
});

testMedia("a second folder gets a copy, and folders of thumbnails are deleted in buckets too", async (start) => {
  const second = await Deno.makeTempDir({ prefix: "synapse-ts-media-second-" });
  try {
    const provider = { module: "file_system", store_local: true, config: { directory: second } };
    await using hs = await start(withProvider(provider, true));
    const alice = await hs.register("alice");
    await alice.upload("twice");
    await hs.media[Symbol.asyncDispose]();
    const [copy = ""] = await localFiles(second);
    equal(await Deno.readTextFile(copy), "twice");
  } finally {
    await Deno.remove(second, { recursive: true });
  }
  await using bucket = new Bucket();
  await using hs = await start(withProvider(bucket.config(), false));
  const alice = await hs.register("alice");
  const mediaId = await alice.upload("x");
  const key = `hs/local_thumbnails/${mediaId.slice(0, 2)}/${mediaId.slice(2, 4)}/${mediaId.slice(4)}`;
  for (const name of ["/1", "/2", "/3", "x/1"]) bucket.objects.set(`${key}${name}`, new Uint8Array());
  await hs.media.removal.delete({ origin: MEDIA_SERVER, mediaId });
  deepEqual([...bucket.objects.keys()], [`${key}x/1`]);
});

testMedia("stores that cannot work are refused at start", async (start) => {
  const wrong: [MediaServerOptions, RegExp][] = [
    [{ config: { enable_local_media_storage: false } }, /needs an entry in "media_storage_providers"/],
    [withProvider({ module: "gopher", config: {} }, true), /there is no module "gopher"/],
    [withProvider({ module: "s3", config: { bucket: "x" } }, true), /s3 has no usable "access_key_id"/],
  ];
  for (const [options, message] of wrong) await rejects(start(options), message);
});
