import assert from "node:assert/strict";
import { CA_PEM, makeCertificate } from "../../tests/federation/certificates.ts";
import { certificateNames, isCoveredBy, isIssuedBy, isKeyOf, readCertificates } from "./x509.ts";

Deno.test("a key belongs to the first certificate of a chain, or to none", async () => {
  const [one, two] = [await makeCertificate("DNS:one.test"), await makeCertificate("DNS:two.test")];
  assert.equal(isKeyOf(one.key, one.cert), true);
  assert.equal(isKeyOf(one.key, `${one.cert}${CA_PEM}`), true);
  assert.equal(isKeyOf(one.key, `${two.cert}${one.cert}`), false);
  assert.throws(() => isKeyOf("nothing", one.cert));
  assert.throws(() => isKeyOf(one.key, "nothing"));
});

Deno.test("the names of a certificate, in which a wildcard stands for one label", async () => {
  const { cert } = await makeCertificate("DNS:One.test", "DNS:*.two.test", "IP:127.0.0.1", "IP:::1");
  const [leaf] = await readCertificates(cert);
  assert.ok(leaf);
  const names = await certificateNames(leaf);
  assert.deepEqual(names, ["one.test", "*.two.test", "127.0.0.1", "::1"]);
  const covered = [
    "one.test",
    "ONE.test",
    "a.two.test",
    "two.test",
    "b.a.two.test",
    "x.one.test",
    "127.0.0.1",
    "10.0.0.1",
  ];
  assert.deepEqual(covered.filter((host) => isCoveredBy(names, host)), [
    "one.test",
    "ONE.test",
    "a.two.test",
    "127.0.0.1",
  ]);
});

Deno.test("a certificate says by whom it was issued", async () => {
  const { cert } = await makeCertificate("DNS:one.test");
  const [leaf, authority, ...rest] = await readCertificates(`${cert}${CA_PEM}`);
  assert.ok(leaf && authority);
  assert.equal(rest.length, 0);
  assert.equal(await isIssuedBy(leaf, authority), true);
  assert.equal(await isIssuedBy(authority, leaf), false);
  assert.equal(await isIssuedBy(leaf, leaf), false);
});
