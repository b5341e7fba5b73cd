import assert from "node:assert/strict";
import { sanitizeHtml } from "./sanitize_html.ts";

Deno.test("sanitizeHtml() keeps what messages may hold, and nothing that runs, loads or breaks out", () => {
  const cases: [string, string][] = [
    ["a <b>bold</b> <i>word</i><br>", "a <b>bold</b> <i>word</i><br>"],
    ["1 < 2 & 3", "1 &#60; 2 &#38; 3"],
    ['<script>alert(1)</script>x<img src="http://a/" onerror=x>', "x"],
    ['<a href="javascript:alert(1)" onclick=x>y</a>', "<a>y</a>"],
    [
      '<a href="https://a.test/?a=1&amp;b=%22">y</a>',
      '<a href="https://a.test/?a=1&#38;b=%22" rel="noopener noreferrer">y</a>',
    ],
    ["<mx-reply><blockquote>old</blockquote></mx-reply>new", "new"],
    [
      '<font color="#ff0000" style="x">r</font><font color="red;x">s</font>',
      '<font color="#ff0000">r</font><font>s</font>',
    ],
    ["<b>open", "<b>open</b>"],
    ["</div></body>x<style>y", "x"],
    ["&lt;script&gt;", "&#60;script&#62;"],
  ];
  for (const [given, expected] of cases) assert.equal(sanitizeHtml(given), expected, given);
  const deep = sanitizeHtml("<div>".repeat(5_000));
  assert.equal(deep, "<div>".repeat(50) + "</div>".repeat(50));
});
