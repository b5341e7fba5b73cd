import assert from "node:assert/strict";
import { join } from "node:path";
import { stringify } from "yaml";
import { commandFolder } from "../cli/command_line.ts";
import { path, type TestClient } from "../harness/client.ts";
import { createEmptyDatabase } from "../harness/databases.ts";
import { SERVER_NAME, testEachServer, TestServer } from "../harness/server.ts";
import { databaseOption, operatorFolder } from "./operator.ts";

const KEY = { key: "A".repeat(43), signatures: {} };

function oneTimeKey(user: TestClient, id: string): Record<string, unknown> {
  const signatures = { [user.userId]: { [`ed25519:${user.deviceId}`]: "B".repeat(86) } };
  return { [`signed_curve25519:${id}`]: { ...KEY, signatures } };
}

async function claim(by: TestClient, of: TestClient): Promise<Record<string, unknown>> {
  const body = { one_time_keys: { [of.userId]: { [of.deviceId]: "signed_curve25519" } } };
  return (await by.post("/keys/claim", body)).one_time_keys[of.userId]?.[of.deviceId] ?? {};
}

async function upload(user: TestClient, text: string): Promise<string> {
  const answer = await fetch(`${user.base}/_matrix/media/v3/upload`, {
    method: "POST",
    headers: { authorization: `Bearer ${user.accessToken}`, "content-type": "text/plain" },
    body: text,
  });
  return String((await answer.json()).content_uri).slice("mxc://".length);
}

testEachServer("a backup is made while the server runs, and restored elsewhere", async (database) => {
  await using folder = await operatorFolder(database);
  await folder.write("secret.signing.key", "ed25519 a_test AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n");
  await using elsewhere = await commandFolder();
  await using empty = await createEmptyDatabase(database.dialect);
  const keys: Record<string, unknown> = {};
  const media: string[] = [];
  let alice: TestClient;
  let bob: TestClient;
  let room: string;
  {
    await using hs = await TestServer.start({ database, config: folder.serverConfig });
    [alice, bob] = await hs.register("alice", "bob");
    room = await alice.createRoom({ preset: "public_chat", name: "Kept" });
    await bob.join(room);
    media.push(await upload(alice, "first file"));
    for (const id of ["AAAAAQ", "AAAAAg"]) Object.assign(keys, oneTimeKey(alice, id));
    await alice.post("/keys/upload", { one_time_keys: keys });
    const sending = (async () => {
      for (let i = 0; i < 60; i++) await alice.sendText(room, `during ${i}`);
    })();
    const made = await folder.run(["backup", "backups", "-c", "homeserver.yaml", "--verify"]);
    await sending;
    assert.equal(made.code, 0, made.stderr);
    assert.match(
      made.stdout,
      /^Backup \S+ is complete\.\nBackup \S+ is whole: database, \d+ files, 1 files of media\.\n$/,
    );
    assert.match(made.stderr, /^Media: 1 new files, 10 bytes$/m);
    media.push(await upload(bob, "second file"));
    const next = await folder.run(["backup", "backups", "-c", "homeserver.yaml", "--keep", "1"]);
    assert.match(next.stderr, /^Media: 1 new files, 11 bytes$/m);
    assert.equal((await Array.fromAsync(Deno.readDir(join(folder.path, "backups", "snapshots")))).length, 1);
    // What is given out after the backup must not be given out again by what is restored.
    assert.equal(Object.keys(await claim(bob, alice)).length, 1);
    bob.since = (await bob.sync()).next_batch;
  }
  const refused = await folder.run(["restore", "backups", "-c", "homeserver.yaml"]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /^(There is a database .* already|The PostgreSQL database is not empty)\n$/);

  const config = {
    server_name: SERVER_NAME,
    database: databaseOption(empty),
    media_store_path: join(elsewhere.path, "media"),
  };
  await elsewhere.write("homeserver.yaml", stringify(config));
  const backups = join(folder.path, "backups");
  const other = await elsewhere.write("other.yaml", stringify({ ...config, server_name: "other.test" }));
  assert.equal((await elsewhere.run(["restore", backups, "-c", other])).code, 1);
  const restored = await elsewhere.run(["restore", backups, "-c", "homeserver.yaml"]);
  assert.equal(restored.code, 0, restored.stderr);
  assert.match(restored.stderr, /^2 one-time keys were dropped/m);
  await using hs = await TestServer.start({ database: empty, config: { media_store_path: config.media_store_path } });
  const [a, b] = [hs.again(alice), hs.again(bob)];
  b.since = bob.since;
  assert.equal((await a.state(room, { type: "m.room.name" })).name, "Kept");
  for (const [index, id] of media.entries()) {
    const answer = await fetch(`${hs.base}/_matrix/client/v1/media/download/${id}`, {
      headers: { authorization: `Bearer ${a.accessToken}` },
    });
    assert.equal(await answer.text(), `${["first", "second"][index]} file`);
  }
  assert.deepEqual(await claim(b, a), {});
  assert.equal((await a.sync()).device_one_time_keys_count.signed_curve25519, 0);
  // The token of the lost server is of the past for this one.
  const id = await a.sendText(room, "after the restore");
  await b.syncUntil((response) => JSON.stringify(response.rooms ?? {}).includes(id));
  assert.equal((await a.get(path`/rooms/${room}/messages`, { dir: "b", limit: "100" })).chunk.length > 60, true);
});

testEachServer("restore puts configuration and keys back, and verify finds damage", async (database) => {
  await using folder = await operatorFolder(database, {
    signing_key_path: "secret.signing.key",
    form_secret_path: "form",
  });
  await folder.write("secret.signing.key", "ed25519 a_test AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n");
  await folder.write("form", "a secret\n");
  {
    await using hs = await TestServer.start({ database, config: folder.serverConfig });
    const [alice] = await hs.register("alice");
    await upload(alice, "precious");
  }
  assert.equal((await folder.run(["backup", "backups", "-c", "homeserver.yaml"])).code, 0);
  const mode = ((await Deno.stat(join(folder.path, "backups"))).mode ?? 0) & 0o777;
  assert.equal(mode, 0o700);

  await folder.write("form", "another secret\n");
  const differs = await folder.run(["restore", "backups"]);
  assert.equal(differs.code, 1);
  assert.match(differs.stderr, /form is there and is not the same/);
  await Deno.remove(join(folder.path, "form"));
  await Deno.remove(join(folder.path, "secret.signing.key"));
  const exists = await folder.run(["restore", "backups"]);
  assert.equal(exists.code, 1);
  assert.match(exists.stderr, /(There is a database|is not empty)/);
  assert.equal(await folder.read("form"), "a secret\n");
  assert.match(await folder.read("secret.signing.key"), /^ed25519 a_test /);

  const verify = async () => await folder.run(["backup", "backups", "--verify-only"]);
  assert.equal((await verify()).code, 0);
  for await (const file of walk(join(folder.path, "backups", "media"))) await Deno.writeTextFile(file, "pretious");
  const changed = await verify();
  assert.equal(changed.code, 1);
  assert.match(changed.stderr, /^The file of mxc:\/\/hs\.test\/\w+ has been changed$/m);
  const [name] = await Array.fromAsync(Deno.readDir(join(folder.path, "backups", "snapshots")), (entry) => entry.name);
  const copy = join(folder.path, "backups", "snapshots", String(name), "homeserver.db");
  using file = await Deno.open(copy, { write: true });
  await file.seek(5000, Deno.SeekMode.Start);
  await file.write(new Uint8Array(64).fill(7));
  assert.match((await verify()).stderr, /^homeserver\.db \(the database\) has been changed$/m);
});

async function* walk(folder: string): AsyncIterableIterator<string> {
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (isFile) yield join(folder, name);
    else yield* walk(join(folder, name));
  }
}
