import { deepEqual, equal, ok } from "node:assert/strict";
import { deflateSync } from "node:zlib";
import { Buffer } from "node:buffer";
import { loadVips } from "../../src/media/child/images.ts";
import { sql } from "../../src/storage/sql.ts";
import { MEDIA_SERVER, type MediaServer, type MediaUser, testMedia } from "../harness/media.ts";

interface Size {
  readonly width: number;
  readonly height: number;
}

function chunk(type: string, data: Uint8Array): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(data.length);
  head.write(type, 4, "latin1");
  const crc = Buffer.alloc(4);
  crc.writeUInt32BE(crc32(Buffer.concat([head.subarray(4), data])));
  return Buffer.concat([head, data, crc]);
}

function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** A PNG that declares `size`; its pixels are those of `rows` (by default all of them). */
function png({ width, height }: Size, { rows = height, animated = false } = {}): Uint8Array<ArrayBuffer> {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const line = Buffer.alloc(1 + width * 3, 0x55);
  line[0] = 0;
  const data = deflateSync(Buffer.concat(Array.from({ length: rows }, () => line)));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const control = animated ? [chunk("acTL", Buffer.from([0, 0, 0, 1, 0, 0, 0, 0]))] : [];
  const parts = [signature, chunk("IHDR", header), ...control, chunk("IDAT", data), chunk("IEND", Buffer.alloc(0))];
  return Uint8Array.from(Buffer.concat(parts));
}

function pngSize(bytes: Uint8Array): Size {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  equal(view.getUint32(0), 0x89504e47);
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

/** So many pixels of one color, written without ever using the table: codes of three bits. */
function lzwBlocks(color: number, count: number): number[] {
  const codes: number[] = [];
  for (let i = 0; i < count; i++) codes.push(...(i % 2 === 0 ? [4, color] : [color]));
  codes.push(5);
  const bits = codes.flatMap((code) => [code & 1, (code >> 1) & 1, (code >> 2) & 1]);
  const data: number[] = [];
  for (let i = 0; i < bits.length; i += 8) {
    data.push(bits.slice(i, i + 8).reduce((byte, bit, j) => byte | (bit << j), 0));
  }
  const blocks: number[] = [];
  for (let i = 0; i < data.length; i += 255) blocks.push(Math.min(255, data.length - i), ...data.slice(i, i + 255));
  return blocks;
}

/** An animated GIF of a color a frame, with two frames. */
function gif({ width, height }: Size): Uint8Array<ArrayBuffer> {
  const size = [width & 255, width >> 8, height & 255, height >> 8];
  const frame = (color: number) => {
    const blocks = lzwBlocks(color, width * height);
    return [0x21, 0xf9, 4, 0, 10, 0, 0, 0, 0x2c, 0, 0, 0, 0, ...size, 0, 2, ...blocks, 0];
  };
  const loop = [0x21, 0xff, 11, ...Buffer.from("NETSCAPE2.0"), 3, 1, 0, 0, 0];
  const palette = [0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255];
  return Uint8Array.from([
    ...Buffer.from("GIF89a"),
    ...size,
    0x91,
    0,
    0,
    ...palette,
    ...loop,
    ...frame(1),
    ...frame(2),
    0x3b,
  ]);
}

async function thumbnail(user: MediaUser, query: string): Promise<Response> {
  return await user.fetch(`/_matrix/client/v1/media/thumbnail/${MEDIA_SERVER}/${query}`);
}

async function expectError(response: Response, expected: [status: number, errcode: string]): Promise<void> {
  const body = await response.json();
  deepEqual([response.status, body.errcode], expected);
}

async function rows(hs: MediaServer): Promise<number> {
  return (await hs.db.get<{ n: number }>(sql`SELECT COUNT(*) AS n FROM media_thumbnails`))?.n ?? -1;
}

testMedia("thumbnails have the smallest configured size that covers the request, and are kept", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const mediaId = await alice.upload(png({ width: 1000, height: 500 }), { type: "image/png", name: "x.png" });
  const cases: [string, Size][] = [
    ["width=32&height=32&method=crop", { width: 32, height: 32 }],
    ["width=33&height=33&method=crop", { width: 96, height: 96 }],
    ["width=32&height=32&method=scale", { width: 320, height: 160 }],
    ["width=32&height=32", { width: 320, height: 160 }],
    ["width=321&height=240&method=scale", { width: 640, height: 320 }],
    ["width=900&height=600&method=scale", { width: 1000, height: 500 }],
    ["width=200&height=100&method=crop", { width: 256, height: 128 }],
    ["width=4000&height=4000&method=crop", { width: 1000, height: 500 }],
  ];
  for (const [query, size] of cases) {
    const response = await thumbnail(alice, `${mediaId}?${query}`);
    equal(response.status, 200, query);
    equal(response.headers.get("content-type"), "image/png");
    equal(response.headers.get("content-disposition"), 'inline; filename="thumbnail.png"');
    equal(response.headers.get("cross-origin-resource-policy"), "cross-origin");
    const bytes = await response.bytes();
    equal(response.headers.get("content-length"), String(bytes.length));
    deepEqual(pngSize(bytes), size, query);
  }
  const count = await rows(hs);
  await (await thumbnail(alice, `${mediaId}?width=10&height=10&method=crop`)).body?.cancel();
  equal(await rows(hs), count);
  const part = `${mediaId.slice(0, 2)}/${mediaId.slice(2, 4)}/${mediaId.slice(4)}`;
  ok((await Deno.stat(`${hs.folder}/media_store/local_thumbnails/${part}/32-32-image-png-crop`)).isFile);
});

testMedia("dynamic_thumbnails make the size that is asked for", async (start) => {
  await using hs = await start({ config: { dynamic_thumbnails: true } });
  const alice = await hs.register("alice");
  const mediaId = await alice.upload(png({ width: 1000, height: 500 }), { type: "image/png" });
  for (
    const [query, size] of [["width=77&height=33&method=crop", { width: 77, height: 33 }], [
      "width=77&height=77&method=scale",
      { width: 77, height: 39 },
    ]] as const
  ) {
    deepEqual(pngSize(await (await thumbnail(alice, `${mediaId}?${query}`)).bytes()), size);
  }
});

testMedia("a small original serves as its thumbnail, under the type it really has", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const original = png({ width: 20, height: 20 });
  const mediaId = await alice.upload(original, { type: "text/html" });
  for (let i = 0; i < 2; i++) {
    const response = await thumbnail(alice, `${mediaId}?width=32&height=32&method=scale`);
    equal(response.headers.get("content-type"), "image/png");
    deepEqual(await response.bytes(), original);
  }
  const narrow = await alice.upload(png({ width: 50, height: 200 }), { type: "image/png" });
  deepEqual(pngSize(await (await thumbnail(alice, `${narrow}?width=96&height=96&method=crop`)).bytes()), {
    width: 50,
    height: 50,
  });
});

testMedia("thumbnails of JPEG, WebP and AVIF are of types that every client shows", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const vips = await loadVips();
  const image = vips.Image.newFromBuffer(png({ width: 400, height: 300 }));
  const files: [string, Uint8Array, string][] = [
    ["image/jpeg", image.jpegsaveBuffer(), "image/jpeg"],
    ["image/webp", image.webpsaveBuffer(), "image/jpeg"],
    ["image/avif", image.heifsaveBuffer({ compression: "av1", effort: 0 }), "image/jpeg"],
  ];
  for (const [type, bytes, expected] of files) {
    // Each is known by its bytes.
    const mediaId = await alice.upload(new Uint8Array(bytes), { type: "application/octet-stream" });
    for (const [method, width, height] of [["crop", 32, 32], ["scale", 320, 240]] as const) {
      const response = await thumbnail(alice, `${mediaId}?width=${width}&height=${height}&method=${method}`);
      equal(response.status, 200, type);
      equal(response.headers.get("content-type"), expected, type);
      const shown = vips.Image.newFromBuffer(await response.bytes());
      deepEqual([shown.width, shown.height], [width, height], type);
    }
  }
  const tiny = new Uint8Array(image.thumbnailImage(16).heifsaveBuffer({ compression: "av1", effort: 0 }));
  const tinyId = await alice.upload(tiny, { type: "image/avif" });
  const served = await thumbnail(alice, `${tinyId}?width=32&height=32`);
  ok(served.headers.get("content-type") !== "image/avif", "a small one is no thumbnail either");
});

testMedia("with enable_authenticated_media off, the old paths make thumbnails without a token", async (start) => {
  await using hs = await start({ config: { enable_authenticated_media: false } });
  const alice = await hs.register("alice");
  const mediaId = await alice.upload(png({ width: 100, height: 100 }), { type: "image/png" });
  for (const version of ["v3", "r0"]) {
    const query = `${mediaId}?width=32&height=32&method=crop`;
    const response = await hs.anonymous().fetch(`/_matrix/media/${version}/thumbnail/${MEDIA_SERVER}/${query}`);
    equal(response.status, 200);
    deepEqual(pngSize(await response.bytes()), { width: 32, height: 32 });
  }
});

testMedia("animated thumbnails only for those who want them", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const big = await alice.upload(gif({ width: 400, height: 300 }), { type: "image/gif" });
  const small = gif({ width: 10, height: 10 });
  const smallId = await alice.upload(small, { type: "image/gif" });
  for (const method of ["scale&width=320&height=240", "crop&width=32&height=32"]) {
    const moving = await thumbnail(alice, `${big}?method=${method}&animated=true`);
    equal(moving.headers.get("content-type"), "image/webp");
    const bytes = Buffer.from(await moving.bytes());
    ok(bytes.includes("ANMF"), "frames");
    const still = await thumbnail(alice, `${big}?method=${method}&animated=false`);
    equal(still.headers.get("content-type"), "image/png");
    const [, width = "", height = ""] = method.split("=").map((part) => part.split("&")[0] ?? "");
    deepEqual(pngSize(await still.bytes()), { width: Number(width), height: Number(height) });
  }
  deepEqual(await (await thumbnail(alice, `${smallId}?width=32&height=32&animated=true`)).bytes(), small);
  equal((await thumbnail(alice, `${smallId}?width=32&height=32`)).headers.get("content-type"), "image/png");
  const apng = png({ width: 10, height: 10 }, { animated: true });
  const apngId = await alice.upload(apng, { type: "image/apng" });
  const still = await (await thumbnail(alice, `${apngId}?width=32&height=32`)).bytes();
  ok(!Buffer.from(still).includes("acTL"));
});

testMedia("an image with too many pixels is refused without decoding it", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const bomb = await alice.upload(png({ width: 60_000, height: 60_000 }, { rows: 1 }), { type: "image/png" });
  await expectError(await thumbnail(alice, `${bomb}?width=32&height=32`), [413, "M_TOO_LARGE"]);
  await expectError(await thumbnail(alice, `${bomb}?width=64&height=64`), [413, "M_TOO_LARGE"]);
  equal(await rows(hs), 0);
});

testMedia("what is no image has no thumbnail, whatever it claims to be", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const whole = png({ width: 1000, height: 1000 });
  const files: [string, Uint8Array<ArrayBuffer> | string][] = [
    ["truncated", whole.slice(0, whole.length >> 1)],
    ["signature only", whole.slice(0, 8)],
    ["empty", ""],
    ["text", "hello"],
    ["svg", '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'],
    ["pdf", "%PDF-1.4"],
    ["jpeg start", new Uint8Array([0xff, 0xd8, 0xff, 0xe0, 0, 16])],
    ["webp start", "RIFF\x10\x00\x00\x00WEBPVP8 "],
    ["avif start", "\x00\x00\x00\x18ftypavif\x00\x00\x00\x00avifmif1"],
    ["missing rows", png({ width: 500, height: 500 }, { rows: 3 })],
  ];
  for (const [name, file] of files) {
    const mediaId = await alice.upload(file, { type: "image/png", name });
    const response = await thumbnail(alice, `${mediaId}?width=32&height=32`);
    equal(response.status, 400, name);
    await expectError(response, [400, "M_UNKNOWN"]);
  }
  const good = await alice.upload(whole, { type: "application/octet-stream" });
  equal((await thumbnail(alice, `${good}?width=32&height=32`)).status, 200);
});

testMedia("wrong sizes and methods are refused", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const mediaId = await alice.upload(png({ width: 100, height: 100 }), { type: "image/png" });
  await expectError(await thumbnail(alice, `${mediaId}?height=1`), [400, "M_MISSING_PARAM"]);
  for (const wrong of ["width=-1&height=1", "width=1.5&height=1", "width=0&height=1", "width=1&height=99999999"]) {
    await expectError(await thumbnail(alice, `${mediaId}?${wrong}`), [400, "M_INVALID_PARAM"]);
  }
  await expectError(await thumbnail(alice, `${mediaId}?width=1&height=1&method=blur`), [400, "M_INVALID_PARAM"]);
  await expectError(await thumbnail(hs.anonymous(), `${mediaId}?`), [401, "M_MISSING_TOKEN"]);
  await expectError(await thumbnail(alice, `unknown?width=1&height=1`), [404, "M_NOT_FOUND"]);
});

testMedia("requests for one thumbnail at once make it once", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const mediaId = await alice.upload(png({ width: 900, height: 900 }), { type: "image/png" });
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => thumbnail(alice, `${mediaId}?width=96&height=96&method=crop`)),
  );
  for (const answer of answers) deepEqual(pngSize(await answer.bytes()), { width: 96, height: 96 });
  equal(await rows(hs), 1);
});

testMedia("a decoder that takes too long is killed, and the next one works", async (start) => {
  await using hs = await start({ jobTimeoutMs: 1 });
  const alice = await hs.register("alice");
  for (let i = 0; i < 3; i++) {
    const mediaId = await alice.upload(png({ width: 1000 + i, height: 1000 }), { type: "image/png" });
    await expectError(await thumbnail(alice, `${mediaId}?width=32&height=32`), [400, "M_UNKNOWN"]);
  }
  equal((await alice.download(await alice.upload("still here"))).status, 200);
});
