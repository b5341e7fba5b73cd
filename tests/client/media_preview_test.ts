import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { PNG } from "../fixtures/images.ts";
import {
  MEDIA_SERVER,
  type MediaServer,
  type MediaServerOptions,
  type MediaUser,
  testMedia,
} from "../harness/media.ts";

type Page = (request: Request) => Response;

/** A web site under the names that `resolve` leads to it. */
class Site implements Disposable {
  readonly pages = new Map<string, Page>();
  readonly hits: string[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    const quiet = { onListen: () => {}, onError: () => new Response(null, { status: 500 }) };
    this.#server = Deno.serve({ hostname: "0.0.0.0", port: 0, ...quiet }, (request) => {
      const { pathname } = new URL(request.url);
      this.hits.push(pathname);
      return this.pages.get(pathname)?.(request) ?? new Response("no", { status: 404 });
    });
  }

  url(path: string, host = "site.test"): string {
    return `http://${host}:${this.#server.addr.port}${path}`;
  }

  html(path: string, body: string | Uint8Array<ArrayBuffer>, type = "text/html"): void {
    this.pages.set(path, () => new Response(body, { headers: { "content-type": type } }));
  }

  [Symbol.dispose](): void {
    this.#server.shutdown();
  }
}

const ADDRESSES: Readonly<Record<string, readonly string[]>> = {
  "site.test": ["127.0.0.1"],
  "inside.test": ["127.0.0.2"],
  "both.test": ["127.0.0.2", "127.0.0.1"],
  "mapped.test": ["::ffff:127.0.0.2"],
};

const OPTIONS: MediaServerOptions = {
  config: {
    url_preview_enabled: true,
    url_preview_ip_range_blacklist: ["127.0.0.0/8", "10.0.0.0/8", "::1", "fe80::/10"],
    url_preview_ip_range_whitelist: ["127.0.0.1"],
    url_preview_url_blacklist: [{ netloc: "*.blocked.test:*" }, { scheme: "http", path: "^/private/" }],
    max_spider_size: "1M",
  },
  resolve: (hostname) => {
    const found = ADDRESSES[hostname];
    if (found === undefined) return Promise.reject(new Error("not found"));
    return Promise.resolve(found.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })));
  },
};

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function preview(user: MediaUser, url: string, { more = "", path = "client/v1/media" } = {}): Promise<Answer> {
  const response = await user.fetch(`/_matrix/${path}/preview_url?url=${encodeURIComponent(url)}${more}`);
  return { status: response.status, body: await response.json() };
}

async function expectPreview(user: MediaUser, url: string): Promise<Record<string, unknown>> {
  const { status, body } = await preview(user, url);
  equal(status, 200, JSON.stringify(body));
  return body;
}

function testPreviews(name: string, body: (given: { hs: MediaServer; alice: MediaUser; site: Site }) => Promise<void>) {
  testMedia(name, async (start) => {
    using site = new Site();
    await using hs = await start(OPTIONS);
    await body({ hs, alice: await hs.register("alice"), site });
  });
}

testPreviews("a page's OpenGraph fields come with a copy of its image", async ({ alice, site }) => {
  site.pages.set("/test.png", () => new Response(PNG, { headers: { "content-type": "image/png" } }));
  site.html(
    "/test.html",
    `<html prefix="og: http://ogp.me/ns#"><head><title>The Rock (1996)</title>
    <meta property="og:title" content="The Rock" /><meta property="og:type" content="video.movie" />
    <meta property="og:url" content="http://www.imdb.com/title/tt0117500/" />
    <meta property="og:image" content="test.png" /></head><body></body></html>`,
  );
  for (const path of ["client/v1/media", "media/v3", "media/r0"]) {
    const { body } = await preview(alice, site.url("/test.html"), { path });
    equal(body["og:title"], "The Rock");
    equal(body["og:type"], "video.movie");
    equal(body["og:url"], "http://www.imdb.com/title/tt0117500/");
    equal(body["matrix:image:size"], PNG.length);
    deepEqual([body["og:image:width"], body["og:image:height"], body["og:image:type"]], [1, 1, "image/png"]);
    const uri = String(body["og:image"]);
    match(uri, /^mxc:\/\/media\.test\/\d{4}-\d\d-\d\d_\w{16}$/);
    deepEqual(await (await alice.download(uri.split("/").at(-1) ?? "")).bytes(), PNG);
  }
  deepEqual(site.hits, ["/test.html", "/test.png"]);
});

testPreviews("Twitter cards, plain titles, descriptions and text stand in", async ({ alice, site }) => {
  site.html("/card", `<meta name="twitter:title" content="Card"><meta name="twitter:description" content="Words">`);
  site.html("/plain", `<title> A \n title </title><meta name="description" content="About &amp; more">`);
  site.html(
    "/text",
    `<head><title>T</title><style>p{}</style></head><body><script>var x = 1</script><nav>Menu</nav>
    <p>First  paragraph.</p><p>Second.</p></body>`,
  );
  const card = await expectPreview(alice, site.url("/card"));
  deepEqual(card, { "og:title": "Card", "og:description": "Words" });
  const plain = await expectPreview(alice, site.url("/plain"));
  deepEqual(plain, { "og:title": "A\ntitle", "og:description": "About & more" });
  const text = await expectPreview(alice, site.url("/text"));
  deepEqual(text, { "og:title": "T", "og:description": "First paragraph.\nSecond." });
});

testPreviews("links of a page that are no web links are left out", async ({ alice, site }) => {
  site.html(
    "/js",
    `<base href="javascript:alert(1)//"><title>&lt;script&gt;</title>
    <meta property="og:url" content="javascript:alert(1)"><meta property="og:video" content="data:text/html,x">
    <meta property="og:image" content="file:///etc/passwd"><meta property="og:title" content="<b>x</b>">
    <meta property="og:audio" content="/a.mp3"><meta property="__proto__" content="x">`,
  );
  const body = await expectPreview(alice, site.url("/js"));
  deepEqual(body, { "og:title": "<b>x</b>", "og:audio": site.url("/a.mp3") });
});

testPreviews("charsets are taken from the header, the page or the bytes", async ({ alice, site }) => {
  const shiftJis = new Uint8Array([0x93, 0xfa, 0x96, 0x7b]);
  const page = (bytes: Uint8Array, head = "") => {
    const encode = (text: string) => new TextEncoder().encode(text);
    return Uint8Array.from([...encode(`<html><head>${head}<title>`), ...bytes, ...encode("</title></head></html>")]);
  };
  site.html("/header", page(shiftJis), "text/html; charset=Shift_JIS");
  site.html("/meta", page(shiftJis, '<meta http-equiv="Content-Type" content="text/html; charset=shift_jis">'));
  site.html("/utf8", page(new TextEncoder().encode("日本")));
  site.html("/latin", page(new Uint8Array([0xe9])));
  site.html("/unknown", page(new TextEncoder().encode("é")), "text/html; charset=klingon");
  const titles = [];
  for (const path of ["/header", "/meta", "/utf8", "/latin", "/unknown"]) {
    titles.push((await expectPreview(alice, site.url(path)))["og:title"]);
  }
  deepEqual(titles, ["日本", "日本", "日本", "é", "é"]);
});

testPreviews("addresses that are off limits are not reached, by name, literal or redirect", async ({ alice, site }) => {
  site.html("/secret", "<title>secret</title>");
  const inside = (host: string) => site.url("/secret", host);
  for (const host of ["127.0.0.2", "2130706434", "0x7f.0.0.2", "[::ffff:127.0.0.2]", "[::1]", "10.1.2.3", "127.2"]) {
    const { status, body } = await preview(alice, inside(host));
    deepEqual([status, body.errcode], [403, "M_UNKNOWN"], host);
  }
  for (const host of ["inside.test", "mapped.test", "nowhere.test"]) {
    const { status, body } = await preview(alice, inside(host));
    deepEqual([status, body.errcode, body.error], [502, "M_UNKNOWN", "Cannot reach the site"], host);
  }
  const targets = [inside("127.0.0.2"), inside("inside.test"), "file:///etc/passwd", "ftp://site.test/x"];
  for (const [i, target] of targets.entries()) {
    site.pages.set(`/to${i}`, () => new Response(null, { status: 302, headers: { location: target } }));
    ok([403, 502].includes((await preview(alice, site.url(`/to${i}`))).status), target);
  }
  site.html("/page", `<title>t</title><meta property="og:image" content="${inside("127.0.0.2")}">`);
  deepEqual(await expectPreview(alice, site.url("/page")), { "og:title": "t" });
  equal(site.hits.filter((path) => path === "/secret").length, 0);
  equal((await expectPreview(alice, inside("both.test")))["og:title"], "secret");
});

testPreviews("blacklisted and wrong links are refused", async ({ alice, site }) => {
  for (const url of [site.url("/", "a.blocked.test"), site.url("/private/x"), "ftp://site.test/", "javascript:x"]) {
    equal((await preview(alice, url)).status, 403, url);
  }
  for (const url of ["", "nonsense", "//x", `http://site.test/${"x".repeat(5000)}`]) {
    const { status, body } = await preview(alice, url);
    deepEqual([status, body.errcode], [400, "M_INVALID_PARAM"], url.slice(0, 20));
  }
  const missing = await alice.fetch("/_matrix/client/v1/media/preview_url");
  equal((await missing.json()).errcode, "M_MISSING_PARAM");
  equal((await preview(alice, site.url("/"), { more: "&ts=x" })).status, 400);
  deepEqual(site.hits, []);
});

testPreviews("redirects are followed, but not for ever", async ({ alice, site }) => {
  site.html("/end/", `<title>end</title><link rel="x"><meta property="og:url" content="here">`);
  for (let i = 0; i < 7; i++) {
    const location = i === 0 ? "/end/" : `/hop${i - 1}`;
    site.pages.set(`/hop${i}`, () => new Response(null, { status: 301, headers: { location } }));
  }
  deepEqual(await expectPreview(alice, site.url("/hop4")), { "og:title": "end", "og:url": site.url("/end/here") });
  equal((await preview(alice, site.url("/hop6"))).status, 502);
});

testPreviews("size, depth and compression cannot exhaust the server", async ({ hs, alice, site }) => {
  let sent = 0;
  const endless = () =>
    new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 65_536;
        controller.enqueue(new TextEncoder().encode(`<title>endless</title>${"<p>".repeat(21_000)}`));
      },
    });
  site.pages.set("/endless", () => new Response(endless(), { headers: { "content-type": "text/html" } }));
  equal((await expectPreview(alice, site.url("/endless")))["og:title"], "endless");
  ok(sent < 20_000_000);
  site.html("/deep", `<title>deep</title>${"<div>".repeat(100_000)}`);
  equal((await expectPreview(alice, site.url("/deep")))["og:title"], "deep");
  const bomb = gzipSync(new Uint8Array(200_000_000));
  const headers = { "content-type": "text/html", "content-encoding": "gzip" };
  site.pages.set("/bomb", () => new Response(Uint8Array.from(bomb), { headers }));
  deepEqual(await expectPreview(alice, site.url("/bomb")), {});
  const type = { "content-type": "image/png" };
  site.pages.set("/large.png", () => new Response(new Uint8Array(1_048_577), { headers: type }));
  site.html("/large", '<title>large</title><meta property="og:image" content="/large.png">');
  deepEqual(await expectPreview(alice, site.url("/large")), { "og:title": "large" });
  site.pages.set("/zip", () => new Response("x", { headers: { "content-type": "application/zip" } }));
  deepEqual(await expectPreview(alice, site.url("/zip")), {});
  deepEqual(await Array.fromAsync(Deno.readDir(`${hs.folder}/media_store/tmp`)), []);
});

testPreviews("a link to an image is its own preview", async ({ alice, site }) => {
  site.pages.set("/i.png", () => new Response(PNG, { headers: { "content-type": "image/png" } }));
  const body = await expectPreview(alice, site.url("/i.png"));
  deepEqual([body["og:image:width"], body["matrix:image:size"]], [1, PNG.length]);
  site.pages.set("/fake.png", () => new Response("<html>", { headers: { "content-type": "image/png" } }));
  deepEqual(await expectPreview(alice, site.url("/fake.png")), {});
});

testPreviews("oEmbed descriptions are discovered", async ({ alice, site }) => {
  site.html(
    "/video",
    `<link rel="alternate" type="application/json+oembed" href="/oembed?url=x"><title>Fallback</title>`,
  );
  site.pages.set("/oembed", () =>
    Response.json({
      version: "1.0",
      type: "video",
      title: "From oEmbed",
      provider_name: "Tube",
      thumbnail_url: "/thumb.png",
      html: "<iframe></iframe>",
    }));
  site.pages.set("/thumb.png", () => new Response(PNG, { headers: { "content-type": "image/png" } }));
  const body = await expectPreview(alice, site.url("/video"));
  deepEqual([body["og:title"], body["og:site_name"], body["og:type"]], ["From oEmbed", "Tube", "video.other"]);
  match(String(body["og:image"]), /^mxc:/);
  site.html("/broken", `<link rel="alternate" type="application/json+oembed" href="/nothing"><title>Still</title>`);
  deepEqual(await expectPreview(alice, site.url("/broken")), { "og:title": "Still" });
});

testPreviews(
  "a preview is fetched once for all who ask, and failures are not tried again at once",
  async ({ alice, site }) => {
    site.html("/once", "<title>once</title>");
    await Promise.all([1, 2, 3].map(() => expectPreview(alice, site.url("/once#part"))));
    await expectPreview(alice, site.url("/once"));
    equal((await preview(alice, site.url("/gone"))).status, 502);
    equal((await preview(alice, site.url("/gone"))).status, 502);
    deepEqual(site.hits, ["/once", "/gone"]);
  },
);

testPreviews("an image whose content is quarantined is left out", async ({ hs, alice, site }) => {
  site.pages.set("/bad.png", () => new Response(PNG, { headers: { "content-type": "image/png" } }));
  site.html("/page.html", '<meta property="og:title" content="A page"><meta property="og:image" content="bad.png">');
  const mediaId = await alice.upload(PNG, { type: "image/png" });
  equal(await hs.media.quarantine.hide([{ origin: MEDIA_SERVER, mediaId }], alice.userId), 1);
  const fields = await expectPreview(alice, site.url("/page.html"));
  deepEqual([fields["og:title"], fields["og:image"]], ["A page", undefined]);
  deepEqual(await expectPreview(alice, site.url("/bad.png")), {});
});

testPreviews("an image tells where it was fetched from", async ({ hs, alice, site }) => {
  site.pages.set("/good.png", () => new Response(PNG, { headers: { "content-type": "image/png" } }));
  const fields = await expectPreview(alice, site.url("/good.png"));
  const mediaId = String(fields["og:image"]).slice(`mxc://${MEDIA_SERVER}/`.length);
  const { url_cache: from, user_id: userId } = await hs.media.admin.info({ origin: MEDIA_SERVER, mediaId });
  deepEqual([from, userId], [site.url("/good.png"), null]);
});

testMedia("previews that are off are not there", async (start) => {
  await using hs = await start();
  const alice = await hs.register("alice");
  const { status, body } = await preview(alice, "http://site.test/");
  deepEqual([status, body.errcode], [404, "M_UNRECOGNIZED"]);
  equal((await preview(hs.anonymous(), "http://site.test/")).status, 401);
});

testMedia("previews expire with what the page allows, and their images later", async (start) => {
  let offset = 0;
  const clock = {
    now: () => Date.now() + offset,
    monotonic: () => performance.now(),
    sleep: (ms: number, signal?: AbortSignal) =>
      new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        signal?.addEventListener("abort", () => resolve(clearTimeout(timer)));
      }),
  };
  using site = new Site();
  await using hs = await start({ ...OPTIONS, clock });
  const alice = await hs.register("alice");
  let version = 1;
  site.pages.set("/v", () => {
    const headers = { "content-type": "text/html", "cache-control": "public, max-age=7200" };
    return new Response(`<title>v${version}</title><meta property="og:image" content="/i.png">`, { headers });
  });
  site.pages.set("/i.png", () => new Response(PNG, { headers: { "content-type": "image/png" } }));
  const first = await expectPreview(alice, site.url("/v"));
  const firstTs = Date.now();
  version = 2;
  offset = 7_100_000;
  equal((await expectPreview(alice, site.url("/v")))["og:title"], "v1");
  offset = 7_300_000;
  equal((await expectPreview(alice, site.url("/v")))["og:title"], "v2");
  const then = await preview(alice, site.url("/v"), { more: `&ts=${firstTs + 1000}` });
  equal(then.body["og:title"], "v1");
  const image = String(first["og:image"]).split("/").at(-1) ?? "";
  await hs.media.tick();
  equal((await alice.download(image)).status, 200);
  offset = 4 * 86_400_000;
  await hs.media.tick();
  equal((await alice.download(image)).status, 404);
});

testMedia("oEmbed providers of the configuration describe their sites' pages", async (start) => {
  using site = new Site();
  const file = await Deno.makeTempFile();
  try {
    const endpoints = [{ schemes: ["http://*.test:*/rich/*"], url: site.url("/describe.{format}") }];
    await Deno.writeTextFile(file, JSON.stringify([{ provider_name: "X", provider_url: "x", endpoints }]));
    const oembed = { additional_providers: [file] };
    await using hs = await start({ ...OPTIONS, config: { ...OPTIONS.config, oembed } });
    const alice = await hs.register("alice");
    site.pages.set("/describe.json", (request) => {
      const about = new URL(request.url).searchParams.get("url");
      const html = `<blockquote>Said about <b>${about?.split("/").at(-1)}</b><script>alert(1)</script></blockquote>`;
      return Response.json({ version: "1.0", type: "rich", html, author_name: "Somebody", provider_name: "X" });
    });
    deepEqual(await expectPreview(alice, site.url("/rich/thing")), {
      "og:title": "Somebody",
      "og:site_name": "X",
      "og:description": "Said about thing",
    });
    deepEqual(site.hits, ["/describe.json"]);
    await Deno.writeTextFile(file, "{}");
    await rejects(start({ config: { ...OPTIONS.config, oembed } }), /is not a list of oEmbed providers/);
  } finally {
    await Deno.remove(file);
  }
});

testPreviews("sites learn nothing of the user, and get no passwords", async ({ alice, site }) => {
  let seen = new Headers();
  site.pages.set("/echo", (request) => {
    seen = request.headers;
    return new Response("<title>echo</title>", { headers: { "content-type": "text/html" } });
  });
  await expectPreview(alice, site.url("/echo").replace("http://", "http://user:secret@"));
  equal(seen.get("authorization"), null);
  equal(seen.get("cookie"), null);
  equal(seen.get("accept-language"), "en");
  match(seen.get("user-agent") ?? "", /^synapse-ts\//);
});

testPreviews(
  "a site that breaks off, lies about its encoding or is not there leads nowhere",
  async ({ alice, site }) => {
    const headers = { "content-type": "text/html" };
    const broken = () =>
      new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(new Error("gone")) }, {
        highWaterMark: 0,
      });
    site.pages.set("/nothing", () => new Response(broken(), { headers }));
    site.pages.set("/lying", () => new Response("<title>", { headers: { ...headers, "content-encoding": "gzip" } }));
    const closed = site.url("/", "127.0.0.1").replace(/:\d+\//, ":1/");
    for (const url of [site.url("/nothing"), site.url("/lying"), closed]) {
      const { status, body } = await preview(alice, url);
      deepEqual([status, body.errcode], [502, "M_UNKNOWN"], url);
    }
  },
);
