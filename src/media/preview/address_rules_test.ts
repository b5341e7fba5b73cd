import { equal } from "node:assert/strict";
import { AddressRules } from "./address_rules.ts";

const rules = new AddressRules({
  denied: ["127.0.0.0/8", "10.0.0.0/8", "192.168.7.7", "::1", "fe80::/10", "2001:db8::/32"],
  allowed: ["10.1.1.1", "fe80::5"],
});

Deno.test("isAllowed() judges ranges, single addresses and exceptions", () => {
  const judged: [string, boolean][] = [
    ["127.0.0.1", false],
    ["127.255.255.255", false],
    ["128.0.0.1", true],
    ["10.2.3.4", false],
    ["10.1.1.1", true],
    ["192.168.7.7", false],
    ["192.168.7.8", true],
    ["::1", false],
    ["fe80::1", false],
    ["fe80::1%eth0", false],
    ["fe80::5", true],
    ["2001:db8:1::1", false],
    ["2606:4700::1111", true],
    ["nonsense", false],
    ["", false],
  ];
  for (const [address, isAllowed] of judged) equal(rules.isAllowed(address), isAllowed, address);
});

Deno.test("isAllowed() sees IPv4 addresses inside IPv6 ones", () => {
  const inside = ["::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::10.0.0.1", "2002:7f00:0001::1"];
  for (const address of inside) equal(rules.isAllowed(address), false, address);
  for (const address of ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]) {
    equal(rules.isAllowed(address), true, address);
  }
});

Deno.test("mayTry() judges hosts that are addresses and leaves names to the resolver", () => {
  equal(rules.mayTry("example.org"), true);
  equal(rules.mayTry("127.0.0.1"), false);
  equal(rules.mayTry("[::1]"), false);
  equal(rules.mayTry("[2606:4700::1111]"), true);
});
