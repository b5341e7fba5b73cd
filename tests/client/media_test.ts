import { deepEqual, equal, match, ok } from "node:assert/strict";
import { connect } from "node:net";
import { selectMedia } from "../../src/storage/media.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { MEDIA_SERVER, type MediaServer, type MediaUser, testMedia } from "../harness/media.ts";

const HELLO = new TextEncoder().encode("hello, world");

async function errcode(response: Response): Promise<string> {
  return (await response.json()).errcode;
}

async function filesBelow(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) found.push(...await filesBelow(path));
    else found.push(path);
  }
  return found;
}

async function storedFiles(hs: MediaServer): Promise<string[]> {
  const root = `${hs.folder}/media_store/`;
  return (await filesBelow(root)).map((path) => path.slice(root.length + 1).replace(/^\//, ""));
}

testMedia("POST /upload stores a file where Synapse would, and GET /download returns it", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const mediaId = await alice.upload(HELLO, { type: "img/png", name: "a.png" });
  match(mediaId, /^[A-Za-z]\w{23}$|^\w{24}$/);

  const response = await alice.download(mediaId);
  equal(response.status, 200);
  deepEqual(await response.bytes(), HELLO);
  equal(response.headers.get("content-type"), "img/png");
  equal(response.headers.get("content-disposition"), 'attachment; filename="a.png"');
  equal(response.headers.get("content-length"), String(HELLO.length));
  equal(response.headers.get("cross-origin-resource-policy"), "cross-origin");
  equal(response.headers.get("x-content-type-options"), "nosniff");
  equal(response.headers.get("access-control-allow-origin"), "*");
  match(response.headers.get("content-security-policy") ?? "", /^sandbox; default-src 'none'; script-src 'none';/);
  const expected = `local_content/${mediaId.slice(0, 2)}/${mediaId.slice(2, 4)}/${mediaId.slice(4)}`;
  deepEqual(await storedFiles(hs), [expected]);
});

testMedia(
  "media need a token on the authenticated paths, and new media are not served on the old ones",
  async (start) => {
    await using hs = await start();
    const alice = await hs.register("alice");
    const mediaId = await alice.upload(HELLO);
    const nobody = hs.anonymous();
    equal((await nobody.download(mediaId)).status, 401);
    equal(await errcode(await nobody.fetch(`/_matrix/client/v1/media/config`)), "M_MISSING_TOKEN");
    for (const path of ["config", "upload", "upload/x/y"]) {
      const method = path === "config" ? "GET" : path === "upload" ? "POST" : "PUT";
      equal((await nobody.fetch(`/_matrix/media/v3/${path}`, { method })).status, 401);
    }
    equal((await nobody.fetch(`/_matrix/media/v1/create`, { method: "POST" })).status, 401);
    for (const version of ["v3", "r0", "v1"]) {
      const response = await alice.fetch(`/_matrix/media/${version}/download/${MEDIA_SERVER}/${mediaId}`);
      equal(response.status, 404);
      equal(await errcode(response), "M_NOT_FOUND");
    }
  },
);

testMedia("with enable_authenticated_media off, the old paths serve media without a token", async (start) => {
  await using hs = await start({ config: { enable_authenticated_media: false } });
  const alice = await hs.register("alice");
  const mediaId = await alice.upload(HELLO, { type: "text/plain" });
  const nobody = hs.anonymous();
  for (const version of ["v3", "r0", "v1"]) {
    const response = await nobody.fetch(`/_matrix/media/${version}/download/${MEDIA_SERVER}/${mediaId}/x.txt`);
    equal(response.status, 200);
    equal(response.headers.get("content-type"), "text/plain; charset=UTF-8");
    equal(response.headers.get("content-disposition"), 'inline; filename="x.txt"');
    equal(await response.text(), "hello, world");
    const unnamed = await nobody.fetch(`/_matrix/media/${version}/download/${MEDIA_SERVER}/${mediaId}`);
    equal(await unnamed.text(), "hello, world");
  }
});

testMedia("GET /config tells the upload limit, and larger uploads are refused leaving nothing", async (start) => {
  await using hs = await start({ config: { max_upload_size: 1000 } });
  const alice = await hs.register("alice");
  for (const path of ["client/v1/media", "media/v3", "media/r0", "media/v1"]) {
    deepEqual(await (await alice.fetch(`/_matrix/${path}/config`)).json(), { "m.upload.size": 1000 });
  }
  equal((await alice.upload(new Uint8Array(1000))).length, 24);
  const declared = await alice.fetch("/_matrix/media/v3/upload", { method: "POST", body: new Uint8Array(1001) });
  equal(declared.status, 413);
  equal(await errcode(declared), "M_TOO_LARGE");
  const chunks = new ReadableStream({
    start(controller) {
      for (let i = 0; i < 11; i++) controller.enqueue(new Uint8Array(100));
      controller.close();
    },
  });
  const chunked = await alice.fetch("/_matrix/media/v3/upload", { method: "POST", body: chunks });
  equal(chunked.status, 413);
  equal(await errcode(chunked), "M_TOO_LARGE");
  equal((await storedFiles(hs)).length, 1);
});

testMedia("an upload that breaks off leaves nothing", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const { token } = alice;
  const { hostname, port } = new URL(hs.base);
  const socket = connect({ host: hostname, port: Number(port) });
  socket.on("error", () => {});
  const head = "POST /_matrix/media/v3/upload HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n" +
    `authorization: Bearer ${token}\r\n\r\n`;
  socket.write(head + "x".repeat(50_000));
  await waitUntil(async () => (await storedFiles(hs)).length === 1);
  socket.destroy();
  await waitUntil(async () => (await storedFiles(hs)).length === 0);
});

testMedia("file names survive, and cannot break out of the header", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const names: [string, string][] = [
    ["name with spaces", 'inline; filename="name with spaces"'],
    ["name;with;semicolons", 'inline; filename="name;with;semicolons"'],
    ["☕.png", "inline; filename*=UTF-8''%E2%98%95.png"],
    ['a".png', "inline; filename*=UTF-8''a%22.png"],
    ["a\r\nset-cookie: x", "inline; filename*=UTF-8''a%0D%0Aset-cookie%3A%20x"],
    ["(1)'*", `inline; filename="(1)'*"`],
  ];
  for (const [name, expected] of names) {
    const mediaId = await alice.upload(HELLO, { type: "image/png", name });
    equal((await head(alice, mediaId)).headers.get("content-disposition"), expected);
    const other = await head(alice, `${mediaId}/${encodeURIComponent("other name")}`);
    equal(other.headers.get("content-disposition"), 'inline; filename="other name"');
  }
  const unnamed = await alice.upload(HELLO, { type: "image/png" });
  equal((await head(alice, unnamed)).headers.get("content-disposition"), "inline");
  const long = await alice.fetch(`/_matrix/media/v3/upload?filename=${"x".repeat(1025)}`, { method: "POST", body: "" });
  equal(await errcode(long), "M_INVALID_PARAM");
});

testMedia("only harmless types are served inline, and what is no type becomes octet-stream", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const types: [string, string, string][] = [
    ["Text/Plain; charset=utf-8", "inline", "Text/Plain; charset=utf-8"],
    ["text/html", "attachment", "text/html; charset=UTF-8"],
    ["image/svg+xml", "attachment", "image/svg+xml"],
    ["image/png, text/html", "attachment", "application/octet-stream"],
    ["nonsense", "attachment", "application/octet-stream"],
    ["application/pdf", "attachment", "application/pdf"],
    ["video/mp4", "inline", "video/mp4"],
  ];
  for (const [type, disposition, served] of types) {
    const response = await head(alice, await alice.upload(HELLO, { type }));
    equal(response.headers.get("content-disposition"), disposition);
    equal(response.headers.get("content-type"), served);
  }
});

testMedia("ranges, validators and HEAD", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const bytes = crypto.getRandomValues(new Uint8Array(65_536)).map((value, i) => i % 3 === 0 ? value : i);
  const big = new Uint8Array(200_000).map((_, i) => bytes[i % 65_536] ?? 0);
  const mediaId = await alice.upload(big, { type: "video/mp4" });
  const ranges: [string, number, number][] = [
    ["bytes=0-0", 0, 1],
    ["bytes=10-19", 10, 20],
    ["bytes=199990-", 199_990, 200_000],
    ["bytes=-70000", 130_000, 200_000],
    ["bytes=1000-999999999", 1_000, 200_000],
    ["bytes=-999999999", 0, 200_000],
  ];
  for (const [range, start, end] of ranges) {
    const response = await alice.download(mediaId, { headers: { range } });
    equal(response.status, 206, range);
    equal(response.headers.get("content-range"), `bytes ${start}-${end - 1}/200000`);
    equal(response.headers.get("content-length"), String(end - start));
    deepEqual(await response.bytes(), big.slice(start, end));
  }
  for (const range of ["bytes=200000-", "bytes=-0"]) {
    const response = await alice.download(mediaId, { headers: { range } });
    equal(response.status, 416, range);
    equal(response.headers.get("content-range"), "bytes */200000");
  }
  for (const range of ["bytes=0-1,5-6", "bytes=9-3", "items=0-1", "bytes=-", "bytes=a-b"]) {
    const response = await alice.download(mediaId, { headers: { range } });
    equal(response.status, 200, range);
    equal((await response.bytes()).length, 200_000);
  }
  const whole = await alice.fetch(`/_matrix/client/v1/media/download/${MEDIA_SERVER}/${mediaId}`, { method: "HEAD" });
  equal(whole.status, 200);
  equal(whole.headers.get("content-length"), "200000");
  equal((await whole.bytes()).length, 0);
  const etag = whole.headers.get("etag") ?? "";
  const unchanged = await alice.download(mediaId, { headers: { "if-none-match": `"x", W/${etag}` } });
  equal(unchanged.status, 304);
  equal((await unchanged.bytes()).length, 0);
  const stale = await alice.download(mediaId, { headers: { range: "bytes=0-0", "if-range": '"x"' } });
  equal(stale.status, 200);
  await stale.body?.cancel();
});

testMedia("media ids and server names cannot leave the store", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const secret = `${hs.folder}/secret`;
  await Deno.writeTextFile(secret, "secret");
  const paths = [
    `${MEDIA_SERVER}/${encodeURIComponent("../../secret")}`,
    `${MEDIA_SERVER}/..%2f..%2fsecret`,
    `${MEDIA_SERVER}/%2e%2e`,
    `${MEDIA_SERVER}/a%00b`,
    `${encodeURIComponent("../..")}/secret`,
    `%2e%2e/secret`,
    `127.0.0.1%2f..%2f../secret`,
    `${MEDIA_SERVER}/%zz`,
    `${MEDIA_SERVER}/${"a".repeat(256)}`,
    `${MEDIA_SERVER}/caf%C3%A9`,
  ];
  for (const path of paths) {
    for (const kind of ["download", "thumbnail"]) {
      const response = await alice.fetch(`/_matrix/client/v1/media/${kind}/${path}?width=1&height=1`);
      ok(response.status === 400 || response.status === 404 || response.status === 502, `${path}: ${response.status}`);
      ok(!(await response.text()).includes("secret\n"));
    }
  }
  const put = await alice.fetch(`/_matrix/media/v3/upload/${MEDIA_SERVER}/..%2f..%2fpwned`, {
    method: "PUT",
    body: "x",
  });
  equal(put.status, 400);
  deepEqual(await storedFiles(hs), []);
  equal((await alice.download("unknown")).status, 404);
});

testMedia("a media id can be reserved first and gets its file later, once", async (start) => {
  await using hs = await start();
  const [alice, bob] = [await hs.register("alice"), await hs.register("bob")];
  const before = Date.now();
  const created = await (await alice.fetch("/_matrix/media/v1/create", { method: "POST" })).json();
  const mediaId = created.content_uri.split("/").at(-1);
  ok(created.unused_expires_at >= before + 86_400_000);
  const url = `/_matrix/media/v3/upload/${MEDIA_SERVER}/${mediaId}`;

  const early = await alice.fetch(`/_matrix/client/v1/media/download/${MEDIA_SERVER}/${mediaId}?timeout_ms=50`);
  equal(early.status, 504);
  equal(await errcode(early), "M_NOT_YET_UPLOADED");
  const stolen = await bob.fetch(url, { method: "PUT", body: "mine" });
  equal(stolen.status, 403);
  equal(await errcode(stolen), "M_FORBIDDEN");
  const unknown = await alice.fetch(`${url}x`, { method: "PUT", body: "x" });
  equal(unknown.status, 404);

  const waiting = bob.download(mediaId);
  const headers = { "content-type": "text/plain" };
  const put = await alice.fetch(`${url}?filename=a.txt`, { method: "PUT", body: HELLO, headers });
  equal(put.status, 200);
  deepEqual(await put.json(), {});
  const arrived = await waiting;
  equal(arrived.status, 200);
  equal(arrived.headers.get("content-disposition"), 'inline; filename="a.txt"');
  equal(await arrived.text(), "hello, world");

  const again = await alice.fetch(url, { method: "PUT" });
  equal(again.status, 409);
  equal(await errcode(again), "M_CANNOT_OVERWRITE_MEDIA");
  equal((await storedFiles(hs)).length, 1);
});

testMedia("of uploads to one reserved id at once exactly one wins", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const { content_uri } = await (await alice.fetch("/_matrix/media/v1/create", { method: "POST" })).json();
  const mediaId = content_uri.split("/").at(-1);
  const bodies = ["a", "b", "c", "d"].map((letter) => letter.repeat(100_000));
  const answers = await Promise.all(bodies.map((body) => {
    return alice.fetch(`/_matrix/media/v3/upload/${MEDIA_SERVER}/${mediaId}`, { method: "PUT", body });
  }));
  const winners = bodies.filter((_, i) => answers[i]?.status === 200);
  equal(winners.length, 1);
  equal(answers.filter(({ status }) => status === 409).length, 3);
  for (const answer of answers) await answer.body?.cancel();
  equal(await (await alice.download(mediaId)).text(), winners[0]);
  equal((await storedFiles(hs)).length, 1);
});

testMedia("reserved ids are limited in number and expire", async (start) => {
  let offset = 0;
  const clock = {
    now: () => Date.now() + offset,
    monotonic: () => performance.now(),
    sleep: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)),
  };
  await using hs = await start({ clock, config: { max_pending_media_uploads: 2, unused_expiration_time: "1h" } });
  const alice = await hs.register("alice");
  const create = () => alice.fetch("/_matrix/media/v1/create", { method: "POST" });
  const statuses = await Promise.all([1, 2, 3, 4].map(async () => {
    const response = await create();
    const { content_uri, retry_after_ms } = await response.json();
    return { status: response.status, mediaId: content_uri?.split("/").at(-1), retry: retry_after_ms };
  }));
  deepEqual(statuses.map(({ status }) => status).sort(), [200, 200, 429, 429]);
  const refused = statuses.find(({ status }) => status === 429);
  ok(refused !== undefined && refused.retry > 3_500_000 && refused.retry <= 3_600_000);
  const reserved = statuses.find(({ status }) => status === 200)?.mediaId;

  offset = 3_600_001;
  const late = await alice.fetch(`/_matrix/media/v3/upload/${MEDIA_SERVER}/${reserved}`, { method: "PUT", body: "x" });
  equal(late.status, 404);
  equal(await errcode(late), "M_NOT_FOUND");
  equal((await alice.download(reserved)).status, 404);
  equal((await create()).status, 200);
  equal(await hs.media.uploads.expireReservations(), 2);
});

testMedia("media_upload_limits bound what a user uploads in a time", async (start) => {
  await using hs = await start({ config: { media_upload_limits: [{ time_period: "1h", max_size: 1000 }] } });
  const [alice, bob] = [await hs.register("alice"), await hs.register("bob")];
  await alice.upload(new Uint8Array(600));
  const over = await alice.fetch("/_matrix/media/v3/upload", { method: "POST", body: new Uint8Array(401) });
  equal(over.status, 403);
  deepEqual(await over.json(), {
    errcode: "M_USER_LIMIT_EXCEEDED",
    error: "You have reached the limit of what you may upload",
    info_uri: `https://${MEDIA_SERVER}/_synapse/client/media_upload_limit_exceeded`,
  });
  await bob.upload(new Uint8Array(600));
  const both = await Promise.all([300, 300].map((length) => {
    return alice.fetch("/_matrix/media/v3/upload", { method: "POST", body: new Uint8Array(length) });
  }));
  deepEqual(both.map(({ status }) => status).sort(), [200, 403]);
  for (const response of both) await response.body?.cancel();
  equal((await storedFiles(hs)).length, 3);
});

testMedia("a limit of uploads says where more is told, and whether more can be had", async (start) => {
  const limit = { time_period: "1h", max_size: 10 };
  const more = { info_uri: "https://example.org/more", can_upgrade: true };
  const old = { msc4335_info_uri: more.info_uri, msc4335_soft_limit: true, msc4335_increase_uri: "https://x.test/" };
  for (const names of [more, old]) {
    await using hs = await start({ config: { media_upload_limits: [{ ...limit, ...names }] } });
    const alice = await hs.register("alice");
    const response = await alice.fetch("/_matrix/media/v3/upload", { method: "POST", body: new Uint8Array(11) });
    const { errcode: code, info_uri, can_upgrade } = await response.json();
    deepEqual([response.status, code, { info_uri, can_upgrade }], [403, "M_USER_LIMIT_EXCEEDED", more]);
    equal((await storedFiles(hs)).length, 0);
  }
});

testMedia("wrong query parameters are refused", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const mediaId = await alice.upload(HELLO);
  for (const wrong of ["timeout_ms=-1", "timeout_ms=x", "allow_remote=maybe"]) {
    const response = await alice.download(`${mediaId}?${wrong}`);
    equal(response.status, 400);
    equal(await errcode(response), "M_INVALID_PARAM");
  }
  const method = await alice.fetch("/_matrix/media/v3/upload");
  equal(method.status, 405);
  equal(await errcode(method), "M_UNRECOGNIZED");
});

testMedia("each address may have so many bytes of other servers' media fetched", async (start) => {
  const clock = new FakeClock();
  const remote = {
    fetch() {
      const body = new Blob([new Uint8Array(1_500)]).stream();
      return Promise.resolve({ contentType: "text/plain", uploadName: null, body });
    },
  };
  const config = { remote_media_download_burst_count: 2_000, remote_media_download_per_second: 100 };
  await using hs = await start({ remote, clock, config });
  const alice = await hs.register("alice");
  const status = async (mediaId: string) => {
    const answer = await alice.fetch(`/_matrix/client/v1/media/download/far.example/${mediaId}`);
    await answer.body?.cancel();
    return answer.status;
  };
  equal(await status("One"), 200);
  equal(await status("Two"), 200);
  // 1,000 bytes too many were fetched; what is here costs nothing.
  equal(await status("Three"), 429);
  equal(await status("One"), 200);
  clock.advance(10_000);
  equal(await status("Three"), 429);
  clock.advance(20);
  equal(await status("Three"), 200);
});

testMedia("media of other servers are fetched once and kept", async (start) => {
  let fetches = 0;
  const remote = {
    fetch(key: { mediaId: string }) {
      fetches++;
      const body = new Blob([key.mediaId === "Large" ? new Uint8Array(1_001) : `from afar: ${key.mediaId}`]).stream();
      return Promise.resolve({ contentType: "text/plain", uploadName: "far.txt", body });
    },
  };
  await using hs = await start({
    remote,
    config: { max_upload_size: 1000, prevent_media_downloads_from: ["bad.example"] },
  });
  const alice = await hs.register("alice");
  const path = "/_matrix/client/v1/media/download/far.example:8448/PlainTextFile";
  const answers = await Promise.all([1, 2, 3].map(() => alice.fetch(path)));
  for (const answer of answers) equal(await answer.text(), "from afar: PlainTextFile");
  equal(await (await alice.fetch(path)).text(), "from afar: PlainTextFile");
  equal(fetches, 1);
  match((await storedFiles(hs)).join(), /^remote_content\/far\.example:8448\/..\/..\/.{20}$/);
  const unauthenticated = await alice.fetch("/_matrix/media/v3/download/far.example:8448/PlainTextFile");
  equal(unauthenticated.status, 404);
  const local = await alice.fetch("/_matrix/media/v3/download/far.example/Other?allow_remote=false");
  equal(local.status, 404);
  equal((await alice.fetch("/_matrix/client/v1/media/download/bad.example/Other")).status, 404);
  const large = await alice.fetch("/_matrix/client/v1/media/download/far.example/Large");
  equal(large.status, 502);
  equal(await errcode(large), "M_TOO_LARGE");
  equal((await alice.fetch("/_matrix/client/v1/media/download/../x")).status, 404);
});

testMedia("accesses are written in batches", async (start) => {
  let offset = 0;
  const clock = {
    now: () => 1_000_000 + offset,
    monotonic: () => performance.now(),
    sleep: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)),
  };
  await using hs = await start({ clock });
  const alice = await hs.register("alice");
  const mediaId = await alice.upload(HELLO);
  offset = 5_000;
  await (await alice.download(mediaId)).body?.cancel();
  await hs.media.lastAccess.flush();
  equal((await selectMedia(hs.db, { origin: MEDIA_SERVER, mediaId }))?.lastAccessTs, 1_005_000);
});

async function head(user: MediaUser, mediaId: string): Promise<Response> {
  const response = await user.download(mediaId);
  await response.body?.cancel();
  equal(response.status, 200);
  return response;
}

async function waitUntil(condition: () => Promise<boolean>): Promise<void> {
  while (!await condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
