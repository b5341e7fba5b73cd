import assert from "node:assert/strict";
import {
  isValidLocalpart,
  localpartOf,
  makeUserId,
  parseDeviceId,
  parseEventId,
  parseRoomAlias,
  parseRoomId,
  parseServerName,
  parseUserId,
  serverNameOf,
} from "./ids.ts";

type Parser = (text: string) => string | null;

function accepts(parse: Parser, texts: readonly string[]): void {
  for (const text of texts) assert.equal(parse(text), text);
}

function refuses(parse: Parser, texts: readonly string[]): void {
  for (const text of texts) assert.equal(parse(text), null, `${JSON.stringify(text)} accepted`);
}

const HASH = "Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg";

Deno.test("parseServerName() takes names, addresses and ports", () => {
  accepts(parseServerName, [
    "matrix.org",
    "matrix.org:8888",
    "1.2.3.4",
    "1.2.3.4:1234",
    "[1234:5678::abcd]",
    "[1234:5678::abcd]:5678",
    "[::ffff:1.2.3.4]",
    "localhost",
    "MATRIX.ORG",
    "xn--bcher-kva.example",
  ]);
  refuses(parseServerName, [
    "",
    ":80",
    "a:",
    "a:123456",
    "a:70000",
    "a:b",
    "a:80:80",
    "1.2.3.256",
    "[1234]",
    "[::1",
    "::1",
    "[fe80::1%eth0]",
    "a_b.org",
    "a b",
    "a/b",
    "matrix.org\n",
    "münchen.de",
    "a".repeat(256),
  ]);
});

Deno.test("parseUserId() takes historical localparts, new users do not get them", () => {
  accepts(parseUserId, ["@a:b", "@:b", "@A B!:matrix.org:80", "@ü\u0001:x", "@a:[::1]:8448", `@${"a".repeat(252)}:b`]);
  refuses(parseUserId, ["", "@", "a:b", "@a", "@a:", "@a:b:c", "@a\u0000:b", "@\ud800:b", `@${"a".repeat(253)}:b`]);
  refuses(parseUserId, [`@${"é".repeat(127)}:b`]); // 257 bytes in 130 characters
  assert.ok(isValidLocalpart("az09._=-/+"));
  for (const localpart of ["", "A", "a b", "é", "a:b", "a@b", "a\n"]) assert.ok(!isValidLocalpart(localpart));
});

Deno.test("parseRoomId() and parseEventId() take ids with and without a domain", () => {
  accepts(parseRoomId, ["!x:b", `!${HASH}`, "!a b:matrix.org"]);
  refuses(parseRoomId, ["!", "!:b", "#x:b", "!x:", "!x:b c", "!\u0000:b", `!${"a".repeat(255)}`]);
  accepts(parseEventId, ["$x:b", `$${HASH}`, "$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk"]);
  refuses(parseEventId, ["$", "$:b", "x", "$x:", "$x:b/c", `$${"a".repeat(255)}`]);
});

Deno.test("parseRoomAlias() needs a localpart and a server", () => {
  accepts(parseRoomAlias, ["#a:b", "#日本:matrix.org", "# :b"]);
  refuses(parseRoomAlias, ["#:b", "#a", "a:b", "#a:b:c", "#a\u0000:b", `#${"a".repeat(253)}:b`]);
});

Deno.test("parseDeviceId() takes any text of some length", () => {
  accepts(parseDeviceId, ["A", "日本 /%", "x".repeat(512)]);
  refuses(parseDeviceId, ["", "a\u0000", "x".repeat(513), "\udc00"]);
});

Deno.test("serverNameOf() and localpartOf() split ids", () => {
  const userId = parseUserId("@alice:example.org:8448");
  assert.ok(userId !== null);
  assert.equal(serverNameOf(userId), "example.org:8448");
  assert.equal(localpartOf(userId), "alice");
  assert.equal(serverNameOf(`!${HASH}`), null);
  assert.equal(serverNameOf("@a:b c"), null);
  const server = parseServerName("b");
  assert.ok(server !== null);
  assert.equal(makeUserId("a", server), "@a:b");
  assert.equal(makeUserId("a:c", server), null);
});
