import assert from "node:assert/strict";
import { matchesGlob } from "./glob.ts";
import { parseServerName } from "./ids.ts";
import type { JsonObject } from "./json.ts";
import { isServerAllowed, parseServerAcl } from "./server_acl.ts";

function isAllowed(name: string, content: JsonObject | null): boolean {
  const serverName = parseServerName(name);
  assert(serverName !== null);
  return isServerAllowed(serverName, content === null ? null : parseServerAcl(content));
}

Deno.test("matchesGlob() covers the whole text, regardless of case", () => {
  assert(matchesGlob("Evil.COM", "evil.com"));
  assert(matchesGlob("a.evil.com", "*.evil.com"));
  assert(matchesGlob("evil.com", "e?il.*"));
  assert(matchesGlob("abcabd", "*abd"));
  assert(matchesGlob("", "*"));
  assert(!matchesGlob("evil.com.org", "evil.com"));
  assert(!matchesGlob("evilxcom", "evil.com"));
  assert(!matchesGlob("evil.com", "?vil.co"));
  assert(!matchesGlob("evil.com", ""));
});

Deno.test("matchesGlob() takes no time over many stars", () => {
  const started = performance.now();
  assert(!matchesGlob("a".repeat(255), `${"*a".repeat(2_000)}b`));
  assert(performance.now() - started < 500);
});

Deno.test("isServerAllowed() follows the order of the rules", () => {
  assert(isAllowed("any.example", null));
  assert(!isAllowed("any.example", {}), "without an allow list nobody is let in");
  assert(isAllowed("any.example", { allow: ["*"] }));
  assert(!isAllowed("evil.example", { allow: ["*", "evil.example"], deny: ["evil.example"] }));
  assert(!isAllowed("evil.example:8448", { allow: ["*"], deny: ["EVIL.example"] }), "ports do not count");
  assert(!isAllowed("evil.example", { allow: ["*"], deny: ["evil.example:8448", "*.example"] }));
  assert(isAllowed("1.2.3.4", { allow: ["*"] }));
  assert(!isAllowed("1.2.3.4", { allow: ["*"], allow_ip_literals: false }));
  assert(!isAllowed("[::1]:8448", { allow: ["*"], allow_ip_literals: false }));
  assert(isAllowed("1.2.3.4", { allow: ["*"], allow_ip_literals: "no" }), "not a boolean counts as missing");
  assert(!isAllowed("[::1]", { allow: ["*"], deny: ["[::1]"] }));
});

Deno.test("parseServerAcl() leaves out what is no glob", () => {
  assert.deepEqual(parseServerAcl({ allow: [1, "*", null], deny: "x" }), {
    allow: ["*"],
    deny: [],
    allowIpLiterals: true,
  });
});
