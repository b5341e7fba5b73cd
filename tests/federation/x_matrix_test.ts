/** The Authorization header between servers, in every form that the RFC and older servers have. */
import assert from "node:assert/strict";
import { authorize, parseXMatrix } from "../../src/federation/x_matrix.ts";
import { signerOf } from "./environment.ts";

const PLAIN = { origin: "a.test", destination: "b.test", key: "ed25519:1", signature: "ABC+/d" };

for (
  const [says, header] of Object.entries({
    "as sent today": 'X-Matrix origin="a.test",destination="b.test",key="ed25519:1",sig="ABC+/d"',
    "any order and case": 'x-matrix SIG="ABC+/d",Key="ed25519:1",ORIGIN="a.test",destination="b.test"',
    "without quotes": "X-Matrix origin=a.test,destination=b.test,key=ed25519:1,sig=ABC+/d",
    "spaces and tabs": 'X-Matrix   origin="a.test" ,\tdestination = "b.test"\t, key="ed25519:1",sig="ABC+/d" ',
    "escapes": 'X-Matrix origin="a\\.test",destination="b.test",key="ed25519:\\1",sig="ABC+/d"',
    "unknown parameters": 'X-Matrix origin="a.test",x="y, z=\\"",destination="b.test",key="ed25519:1",sig="ABC+/d"',
  })
) {
  Deno.test(`parseXMatrix() reads ${says}`, () => assert.deepEqual(parseXMatrix(header), [PLAIN]));
}

Deno.test("parseXMatrix() reads a name with a port, and no destination", () => {
  const header = "X-Matrix origin=[::1]:8448,key=ed25519:a_b,sig=x";
  assert.deepEqual(parseXMatrix(header), [
    { origin: "[::1]:8448", destination: null, key: "ed25519:a_b", signature: "x" },
  ]);
});

Deno.test("parseXMatrix() reads several credentials in one header", () => {
  const one = 'X-Matrix origin="a.test",key="ed25519:1",sig="x"';
  const keys = (header: string) => parseXMatrix(header)?.map(({ key }) => key);
  assert.deepEqual(keys(`${one}, ${one.replace(":1", ":2")}`), ["ed25519:1", "ed25519:2"]);
  assert.equal(keys(Array(6).fill(one).join(",")), undefined);
});

for (
  const header of [
    "",
    "Bearer x",
    "X-Matrix",
    "X-Matrix ",
    'X-Matrix origin="a.test",key="ed25519:1"',
    'X-Matrix origin="",key="ed25519:1",sig="x"',
    'X-Matrix origin="a.test" key="ed25519:1" sig="x"',
    'X-Matrix origin="a.test",key="ed25519:1",sig="x',
    'X-Matrix origin="a.test",origin="b.test",key="ed25519:1",sig="x"',
    'X-Matrix origin="a.test",,key="ed25519:1",sig="x"',
    'X-Matrix origin="a.test",key="ed25519:1",sig="x" y',
  ]
) {
  Deno.test(`parseXMatrix() refuses ${JSON.stringify(header)}`, () => assert.equal(parseXMatrix(header), null));
}

Deno.test("authorize() writes what parseXMatrix() reads", () => {
  const request = { method: "GET", uri: "/x", destination: "b.test", bodyText: null };
  const [read] = parseXMatrix(authorize(request, signerOf("a.test"))) ?? [];
  assert.deepEqual([read?.origin, read?.destination, read?.key], ["a.test", "b.test", "ed25519:1"]);
});
