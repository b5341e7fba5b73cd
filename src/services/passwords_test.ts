import assert from "node:assert/strict";
import { passwordBytes } from "./password_hash.ts";
import { Passwords } from "./passwords.ts";

/** Made by Synapse's hash_password with pepper "pep" for "pässwörd". */
const FROM_SYNAPSE = "$2b$04$rpJ/a7RtxKphaxP6lzQHcOlCYzOVSPadDbbiPcBBApitkWLgIa3UW";

Deno.test("Passwords hashes as $2b$ and verifies only the same password", async () => {
  await using passwords = new Passwords({ rounds: 4, pepper: null });
  const hash = await passwords.hashPassword("secret");
  assert.match(hash, /^\$2b\$04\$.{53}$/);
  assert.equal(await passwords.verifyPassword("secret", hash), true);
  assert.equal(await passwords.verifyPassword("Secret", hash), false);
  assert.notEqual(await passwords.hashPassword("secret"), hash);
});

Deno.test("Passwords verifies a hash made by Synapse with a pepper, in any Unicode form", async () => {
  await using passwords = new Passwords({ rounds: 4, pepper: "pep" });
  assert.equal(await passwords.verifyPassword("pässwörd", FROM_SYNAPSE), true);
  assert.equal(await passwords.verifyPassword("pässwörd".normalize("NFD"), FROM_SYNAPSE), true);
  await using unpeppered = new Passwords({ rounds: 4, pepper: null });
  assert.equal(await unpeppered.verifyPassword("pässwörd", FROM_SYNAPSE), false);
});

Deno.test("Passwords hashes in a thread without stopping the main one", async () => {
  await using passwords = new Passwords({ rounds: 10, pepper: null, threads: 1 });
  let ticks = 0;
  const ticker = setInterval(() => ticks++, 1);
  const hashes = await Promise.all(["a", "b", "c"].map((password) => passwords.hashPassword(password)));
  clearInterval(ticker);
  assert.ok(ticks > 10, `the main thread ticked ${ticks} times`);
  assert.equal(await passwords.verifyPassword("b", hashes[1] ?? null), true);
  assert.equal(await passwords.verifyPassword("b", hashes[0] ?? null), false);
});

Deno.test("Passwords refuses a password for which there is no hash, or no bcrypt hash", async () => {
  await using passwords = new Passwords({ rounds: 4, pepper: null });
  assert.equal(await passwords.verifyPassword("secret", null), false);
  assert.equal(await passwords.verifyPassword("secret", ""), false);
  assert.equal(await passwords.verifyPassword("", await passwords.hashPassword("x")), false);
  assert.equal(await passwords.verifyPassword("secret", "$2b$99$aaaa"), false);
});

Deno.test("passwordBytes() keeps the first 72 bytes and says when it cut", () => {
  assert.deepEqual(passwordBytes("a".repeat(72), null).isCut, false);
  const { bytes, isCut } = passwordBytes("é".repeat(36), "x");
  assert.equal(bytes.length, 72);
  assert.equal(isCut, true);
});
