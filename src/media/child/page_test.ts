import { deepEqual, equal, ok } from "node:assert/strict";
import { readPage } from "./page.ts";

function read(html: string): ReturnType<typeof readPage> {
  return readPage(new TextEncoder().encode(html), "utf-8");
}

Deno.test("readPage() bounds every text that it takes", () => {
  const long = "x".repeat(100_000);
  const page = read(`<title>${long}</title><meta name=description content="${long}"><body>${long}`);
  equal(page.title?.length, 1_000);
  equal(page.description, null);
  equal(page.text?.length, 2_000);
  const many = Array.from({ length: 500 }, (_, i) => `<meta property="og:x${"y".repeat(i % 60)}" content="${i}">`);
  ok(Object.keys(read(many.join("")).properties).length <= 100);
});

Deno.test("readPage() takes the first of each property, and only known prefixes", () => {
  const page = read(`<meta property="og:title" content="one"><META PROPERTY="OG:TITLE" CONTENT="two">
    <meta name="twitter:title" content="three"><meta property="__proto__" content="x"><meta property="constructor"
    content="y"><meta property="og:" content="z"><meta property="og:empty" content=" ">`);
  deepEqual(page.properties, { "og:title": "one", "twitter:title": "three" });
});

Deno.test("readPage() ends in bounded time on hostile pages", () => {
  const pages = [
    "<div>".repeat(200_000),
    "<a ".repeat(200_000),
    "<!--".repeat(200_000),
    "&#x".repeat(200_000),
    `<meta property="og:title" content="${"&amp;".repeat(100_000)}`,
    "<title>".repeat(100_000),
    "</div>".repeat(200_000),
    "<svg><script>".repeat(50_000),
  ];
  for (const html of pages) {
    const started = performance.now();
    read(html);
    ok(performance.now() - started < 2_000, html.slice(0, 20));
  }
});

Deno.test("readPage() never gives back half a character", () => {
  const page = read(`<title>${"x".repeat(998)}😀😀</title>`);
  ok(page.title?.isWellFormed());
});
