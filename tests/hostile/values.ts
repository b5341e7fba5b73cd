/** What a hostile client puts where something else belongs, and the dice that choose. */
import type { Json } from "../harness/client.ts";

/** Makes the same sequence for the same seed. */
export class Dice {
  #state: number;

  constructor(seed: number, name: string) {
    this.#state = [...name].reduce((hash, char) => Math.imul(hash ^ char.charCodeAt(0), 16777619), seed ^ 0x811c9dc5);
  }

  /** A whole number below `bound`. */
  roll(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  }

  /** Chooses so many of a list, in random order; all when there are no more. */
  pick<T>(list: readonly T[], count: number): T[] {
    const rest = [...list];
    const picked: T[] = [];
    while (picked.length < count && rest.length > 0) picked.push(...rest.splice(this.roll(rest.length), 1));
    return picked;
  }
}

const RAW = /"@@raw:([^@]*)@@"/g;

/** JSON text that `JSON.stringify` would not write, in the place of a value. */
export function raw(text: string): string {
  return `@@raw:${btoa(text)}@@`;
}

/** Writes JSON; lone surrogates come out escaped, as they may be in JSON. */
export function toJsonText(value: Json): string {
  return JSON.stringify(value).replace(RAW, (_, text: string) => atob(text));
}

function nested(depth: number, [open, close]: readonly [string, string]): string {
  return raw(open.repeat(depth) + "1" + close.repeat(depth));
}

const DEEP = ['{"a":', "}"] as const;
const LIST = ["[", "]"] as const;

function wide(count: number): Json {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, index]));
}

/** Values that are tried at every property. */
export const CORE_VALUES: readonly Json[] = [null, 0, "nul\u0000nul", "\ud800", [], {}];

/** Values of which some are tried at every property. */
export const VALUES: readonly Json[] = [
  ...[true, false, 1, -1, 1.5, -0.1, 1e308, 2 ** 53, -(2 ** 53), 2 ** 63, 4294967296, 1e15],
  ...["1e999", "-1e999", "123456789012345678901234567890", "-0", "1E400", "0.1e-400"].map(raw),
  ...["", " ", "a", "\u0000", "a\u0000", "\udfff\ud800", "a\udc00b", "\u{1f600}", "\u{10ffff}", "\ufffe\uffff"],
  ...["\u202ebidi\u2066", "e\u0301\u0300", "\ufeff", "\u2028\u2029", "\u0001\u001b[31m", "\r\nSet-Cookie: a=b", "\t"],
  ...[
    "x".repeat(256),
    "x".repeat(70_000),
    "é".repeat(128),
    "\u{1f600}".repeat(5_000),
    "9".repeat(400),
    "0".repeat(5_000),
  ],
  ...["-1", "0x10", "1.5", "NaN", "Infinity", "null", "true", "{}", "[", "%00", "%", "../../etc/passwd", "\\", '"'],
  ...["__proto__", "constructor", "hasOwnProperty", "' OR 1=1 --", "$1", "?", ":", "%s%n", "*", "(((((", "a.*.b"],
  ...["@", "!", "$", "#", "@:", "@a:", "@a:b:99999", "!:hs.test", "#:hs.test", "@\u0000:hs.test", "@\ud800:hs.test"],
  ...["@x:hs.test", "!x:hs.test", "$x:hs.test", "#x:hs.test", `@${"x".repeat(300)}:hs.test`, "mxc://", "mxc://a/../b"],
  ...[[null], [[]], [{}], [0, "a", null, {}], ["\u0000"], ["\ud800"], Array(2_000).fill("a"), Array(300).fill({})],
  ...[["@x:hs.test", "@x:hs.test"], ["x".repeat(10_000)], [1.5], [true]],
  ...[{ "": null }, { a: {} }, { a: [] }, { "\u0000": "\u0000" }, { "\ud800": "\ud800" }, { "a.b": { "": {} } }],
  ...[{ constructor: 1, toString: null, hasOwnProperty: 2, valueOf: [] }, { length: -1 }, { then: 1 }, { type: null }],
  ...[raw('{"__proto__":{"admin":true}}'), raw('{"a":1,"a":2}'), raw('{"a":1e999}'), wide(3_000)],
  ...[{ "@x:hs.test": null }, { "*": { "*": {} } }, { ["x".repeat(10_000)]: 1 }],
  ...[nested(60, DEEP), nested(120, LIST), nested(500, DEEP), nested(5_000, LIST)],
];

/** Bodies that are no JSON object, or none at all. */
export const BODIES: readonly (string | Uint8Array)[] = [
  ...["", " ", "null", "true", "0", '""', "[]", "[{}]", "{", "}", '{"a"', '{"a":', '{"a":1', '{"a":1,}', "{'a':1}"],
  ...["{}{}", "NaN", "\u0000", "{\u0000}", '{"a":"\u0000"}', '{"a":"\\ud800"}', '{"\\u0000":1}', "\ufeff{}", "{} x"],
  ...[
    '{"a":01}',
    '{"a":+1}',
    '{"a":.5}',
    '{"a":"\\x"}',
    '{"a":"\\u12"}',
    '{"a":"\t"}',
    "a=b&c=d",
    "<xml/>",
    "\x1f\x8b",
  ],
  ...[`{"a":"${"x".repeat(400_000)}"}`, `${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}`, "[".repeat(50_000)],
  ...[new Uint8Array([0xff, 0xfe, 0x7b, 0]), new Uint8Array([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d])],
  ...[new Uint8Array([0xc0, 0x80]), new Uint8Array([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xf0, 0x9f, 0x22, 0x7d])],
];

/** Content types that promise something else. */
export const CONTENT_TYPES: readonly string[] = [
  ...["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml"],
  ...["application/json; charset=utf-16", "application/json; charset=\\", "x", "application/", "a".repeat(2_000)],
];

/** Already percent-encoded, well or badly, for paths and queries. */
export const ENCODED: readonly string[] = [
  ...["%", "%zz", "%f", "%ff", "%00", "a%00b", "%c0%80", "%ed%a0%80", "%f0%9f", "%F0%9F%98%80", "%E2%80%AE", "%u0041"],
  ...[
    "%2F",
    "%2f%2f",
    "..%2F..%2Fetc",
    "%2e%2e%2f",
    "%252F",
    "%0d%0aSet-Cookie:%20a=b",
    "%EF%BF%BE",
    "+",
    "%20",
    "%09",
  ],
  ...[
    "-1",
    "0",
    "1",
    "1.5",
    "1e309",
    "99999999999999999999",
    "-9223372036854775809",
    "NaN",
    "Infinity",
    "0x10",
    "null",
  ],
  ...["true", "undefined", "__proto__", "constructor", "hasOwnProperty", "toString", "%7B%7D", "%5B%5D", "%7B", "%22"],
  ...[
    "x".repeat(300),
    "x".repeat(5_000),
    "%F0%9F%98%80".repeat(100),
    "9".repeat(500),
    "'%20OR%201=1%20--",
    "*",
    "a:b:c",
  ],
  ...["%40", "%21", "%24", "%23", "%40:", "%40a%00:hs.test", "%21%00:hs.test", "%24%00", "%23a%00:hs.test"],
  ...["%40x:hs.test", "%21x:hs.test", "%24x", "%23x:hs.test", "%40%ed%a0%80:hs.test", "s", "s0", "s-1_-1_-1", "t0-0_0"],
];
