/** Discovery, step by step. Spec: server-server API, "Resolving server names". */
import assert from "node:assert/strict";
import { Discovery, orderTargets } from "../../src/federation/discovery.ts";
import { IpPolicy } from "../../src/federation/ip_policy.ts";
import { lifetimeOf, type WebAnswer, WellKnown } from "../../src/federation/well_known.ts";
import { server, TestClock, testDns } from "./environment.ts";

/** `host:port`, the certificate's name and the Host header. */
type Outcome = readonly [target: string, certName: string, hostHeader: string];

interface Case {
  readonly says: string;
  readonly name: string;
  readonly delegation?: string;
  readonly services?: Record<string, string>;
  readonly outcome: Outcome;
}

const SERVICES = { "_matrix-fed._tcp.a.test": "srv.test:1000", "_matrix._tcp.a.test": "old.test:2000" };

const CASES: readonly Case[] = [
  { says: "1: IPv4 literal", name: "1.2.3.4", outcome: ["1.2.3.4:8448", "1.2.3.4", "1.2.3.4"] },
  { says: "1: IPv4 literal with port", name: "1.2.3.4:5", outcome: ["1.2.3.4:5", "1.2.3.4", "1.2.3.4:5"] },
  { says: "1: IPv6 literal", name: "[2001:db8::1]", outcome: ["2001:db8::1:8448", "2001:db8::1", "[2001:db8::1]"] },
  { says: "2: port", name: "a.test:5", services: SERVICES, outcome: ["a.test:5", "a.test", "a.test:5"] },
  { says: "3.1: to a literal", name: "a.test", delegation: "1.2.3.4", outcome: ["1.2.3.4:8448", "1.2.3.4", "1.2.3.4"] },
  { says: "3.1: with port", name: "a.test", delegation: "[::1]:5", outcome: ["::1:5", "::1", "[::1]:5"] },
  {
    says: "3.2: to a name with port",
    name: "a.test",
    delegation: "b.test:5",
    services: SERVICES,
    outcome: ["b.test:5", "b.test", "b.test:5"],
  },
  {
    says: "3.3: service of the delegated name",
    name: "a.test",
    delegation: "b.test",
    services: { ...SERVICES, "_matrix-fed._tcp.b.test": "srv.test:7", "_matrix._tcp.b.test": "old.test:8" },
    outcome: ["srv.test:7", "b.test", "b.test"],
  },
  {
    says: "3.4: deprecated service of the delegated name",
    name: "a.test",
    delegation: "b.test",
    services: { ...SERVICES, "_matrix._tcp.b.test": "old.test:8" },
    outcome: ["old.test:8", "b.test", "b.test"],
  },
  {
    says: "3.5: neither",
    name: "a.test",
    delegation: "b.test",
    services: SERVICES,
    outcome: ["b.test:8448", "b.test", "b.test"],
  },
  { says: "4: service", name: "a.test", services: SERVICES, outcome: ["srv.test:1000", "a.test", "a.test"] },
  {
    says: "5: deprecated service",
    name: "a.test",
    services: { "_matrix._tcp.a.test": "old.test:2000" },
    outcome: ["old.test:2000", "a.test", "a.test"],
  },
  { says: "6: nothing", name: "a.test", outcome: ["a.test:8448", "a.test", "a.test"] },
];

for (const { says, name, delegation, services, outcome } of CASES) {
  Deno.test(`discovery step ${says}`, async () => {
    const wellKnown = {
      delegationOf: (host: string) => {
        assert.equal(host, "a.test", "only names without a port are asked for");
        return Promise.resolve(delegation === undefined ? null : server(delegation));
      },
    };
    const discovery = new Discovery({ dns: testDns({ services: services ?? {} }), wellKnown, clock: new TestClock() });

    const route = await discovery.resolve(server(name));

    const targets = route.targets.map(({ host, port }) => `${host}:${port}`);
    assert.deepEqual([...targets, route.certName, route.hostHeader], outcome);
  });
}

Deno.test("discovery finds no target where the service is not offered", async () => {
  const dns = testDns({ services: { "_matrix-fed._tcp.a.test": ":0" } });
  const wellKnown = { delegationOf: () => Promise.resolve(null) };
  const discovery = new Discovery({ dns, wellKnown, clock: new TestClock() });
  assert.deepEqual((await discovery.resolve(server("a.test"))).targets, []);
});

Deno.test("orderTargets() puts priority first and draws by weight", () => {
  const target = (host: string, priority: number, weight: number) => ({ host, port: 1, priority, weight });
  const targets = [target("last", 20, 100), target("light", 10, 1), target("heavy", 10, 99)];
  const hosts = (random: number) => orderTargets(targets, () => random).map(({ host }) => host);
  assert.deepEqual(hosts(0), ["light", "heavy", "last"]);
  assert.deepEqual(hosts(0.5), ["heavy", "light", "last"]);
});

/** A well-known whose documents are those of the map; others cannot be reached. */
function wellKnownOf(documents: Record<string, Partial<WebAnswer> & { text?: string }>) {
  const clock = new TestClock();
  const asked: string[] = [];
  const get = (url: URL) => {
    asked.push(url.href);
    const found = documents[url.href];
    if (found === undefined) return Promise.reject(new Error("refused"));
    const body = new TextEncoder().encode(found.text ?? "");
    return Promise.resolve({ status: 200, cacheControl: null, expires: null, location: null, body, ...found });
  };
  return { wellKnown: new WellKnown({ get, clock }), clock, asked, documents };
}

const A = "https://a.test/.well-known/matrix/server";
const HOUR = 3_600_000;

Deno.test("well-known is kept for a day, and asked for once by many", async () => {
  const { wellKnown, clock, asked } = wellKnownOf({ [A]: { text: '{"m.server":"b.test:5"}' } });
  const found = await Promise.all([wellKnown.delegationOf("a.test"), wellKnown.delegationOf("a.test")]);
  assert.deepEqual(found, ["b.test:5", "b.test:5"]);
  clock.advance(24 * HOUR - 1);
  assert.equal(await wellKnown.delegationOf("a.test"), "b.test:5");
  assert.deepEqual(asked, [A]);
  clock.advance(1);
  await wellKnown.delegationOf("a.test");
  assert.equal(asked.length, 2);
});

Deno.test("well-known keeps to cache headers within bounds", () => {
  const lifetime = (cacheControl: string | null, expires: string | null = null) =>
    lifetimeOf({ cacheControl, expires }, Date.parse("Tue, 01 Jan 2030 00:00:00 GMT"));
  assert.equal(lifetime("max-age=3600"), HOUR);
  assert.equal(lifetime("public, Max-Age=1"), 5 * 60_000);
  assert.equal(lifetime("max-age=99999999"), 48 * HOUR);
  assert.equal(lifetime("no-store"), 5 * 60_000);
  assert.equal(lifetime(null, "Tue, 01 Jan 2030 02:00:00 GMT"), 2 * HOUR);
  assert.equal(lifetime(null, "0"), 5 * 60_000);
  assert.equal(lifetime(null), 24 * HOUR);
});

for (
  const [says, answer] of Object.entries({
    "not found": { status: 404, text: '{"m.server":"b.test"}' },
    "not JSON": { text: "<html>" },
    "no m.server": { text: "{}" },
    "m.server is no name": { text: '{"m.server":"b.test/x"}' },
    "m.server is no string": { text: '{"m.server":5}' },
  })
) {
  Deno.test(`well-known without a delegation is kept for an hour: ${says}`, async () => {
    const { wellKnown, clock, asked } = wellKnownOf({ [A]: answer });
    assert.equal(await wellKnown.delegationOf("a.test"), null);
    clock.advance(HOUR - 1);
    assert.equal(await wellKnown.delegationOf("a.test"), null);
    assert.equal(asked.length, 1);
  });
}

Deno.test("a server that cannot be asked is asked less and less often", async () => {
  const { wellKnown, clock, asked } = wellKnownOf({});
  for (const minutes of [2, 4, 8, 16, 32, 60, 60]) {
    assert.equal(await wellKnown.delegationOf("a.test"), null);
    const before = asked.length;
    clock.advance(minutes * 60_000 - 1);
    await wellKnown.delegationOf("a.test");
    assert.equal(asked.length, before, `nothing for ${minutes} minutes`);
    clock.advance(1);
  }
});

Deno.test("a delegation outlives a short failure of its server, but no long one", async () => {
  const { wellKnown, clock, documents } = wellKnownOf({
    [A]: { text: '{"m.server":"b.test"}', cacheControl: "max-age=36000" },
  });
  await wellKnown.delegationOf("a.test");
  documents[A] = { status: 503 };
  clock.advance(11 * HOUR);
  assert.equal(await wellKnown.delegationOf("a.test"), "b.test");
  clock.advance(HOUR + 1);
  assert.equal(await wellKnown.delegationOf("a.test"), null);
});

Deno.test("well-known follows redirects to HTTPS, and no loops", async () => {
  const to = (location: string) => ({ status: 302, location });
  const good = wellKnownOf({
    [A]: to("https://www.a.test/x"),
    "https://www.a.test/x": to("/y"),
    "https://www.a.test/y": { text: '{"m.server":"b.test"}' },
  });
  assert.equal(await good.wellKnown.delegationOf("a.test"), "b.test");
  const loop = wellKnownOf({ [A]: to("https://www.a.test/x"), "https://www.a.test/x": to(A) });
  assert.equal(await loop.wellKnown.delegationOf("a.test"), null);
  assert.equal(loop.asked.length, 2);
  const plain = wellKnownOf({
    [A]: to("http://www.a.test/x"),
    "http://www.a.test/x": { text: '{"m.server":"b.test"}' },
  });
  assert.equal(await plain.wellKnown.delegationOf("a.test"), null);
  assert.equal(plain.asked.length, 1);
});

Deno.test("IpPolicy judges addresses in every form", () => {
  const policy = new IpPolicy({
    denied: ["127.0.0.0/8", "10.0.0.0/8", "::1/128", "fe80::/10"],
    allowed: ["10.1.0.0/16"],
  });
  const denied = ["127.0.0.1", "127.9.9.9", "10.0.0.1", "::1", "fe80::5", "::ffff:127.0.0.1", "::ffff:7f00:1"];
  for (const address of [...denied, "::127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::", "2002:a00:1::1", "name"]) {
    assert(!policy.allows(address), address);
  }
  for (const address of ["8.8.8.8", "10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "::ffff:8.8.8.8", "2002:808:808::"]) {
    assert(policy.allows(address), address);
  }
});
