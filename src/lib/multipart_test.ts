import assert from "node:assert/strict";
import { boundaryOf, MultipartError, readMultipart } from "./multipart.ts";

async function* chunks(text: string, size: number): AsyncGenerator<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  for (let start = 0; start < bytes.length; start += size) {
    yield await Promise.resolve(bytes.subarray(start, start + size));
  }
}

async function read(text: string, size: number): Promise<[string | undefined, string][]> {
  const found: [string | undefined, string][] = [];
  for await (const { headers, body } of readMultipart(chunks(text, size), "b")) {
    let content = "";
    for await (const chunk of body) content += new TextDecoder().decode(chunk);
    found.push([headers.get("content-type"), content]);
  }
  return found;
}

const BODY = "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: text/plain\r\nX: y\r\n\r\n" +
  "one\r\n--c\r\ntwo\r\n\r\n--b\r\n\r\n\r\n--b--\r\n";

Deno.test("readMultipart() finds the parts however they are cut", async () => {
  const expected = [["application/json", "{}"], ["text/plain", "one\r\n--c\r\ntwo\r\n"], [undefined, ""]];
  for (let size = 1; size <= BODY.length; size++) {
    assert.deepEqual(await read(BODY, size), expected, `chunks of ${size}`);
  }
});

Deno.test("readMultipart() refuses what ends too early and headers without end", async () => {
  for (const text of ["", "--b", "--b\r\nA: b", "--b\r\nA: b\r\n\r\nabc", `--b\r\n${"x".repeat(20_000)}`]) {
    await assert.rejects(() => read(text, 100), MultipartError);
  }
});

Deno.test("boundaryOf() reads plain and quoted boundaries", () => {
  assert.equal(boundaryOf("multipart/mixed; boundary=abc"), "abc");
  assert.equal(boundaryOf('multipart/mixed; charset=x; boundary="a b"'), "a b");
  assert.equal(boundaryOf("application/json"), null);
});
