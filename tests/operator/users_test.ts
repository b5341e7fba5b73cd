import assert from "node:assert/strict";
import { join } from "node:path";
import { path } from "../harness/client.ts";
import { createEmptyDatabase, DIALECTS } from "../harness/databases.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { operatorFolder } from "./operator.ts";

async function lines(file: string): Promise<Record<string, unknown>[]> {
  const text = await Deno.readTextFile(file);
  assert.ok(text.endsWith("\n"));
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

testEachServer(
  "export-data writes what a user may see and what is kept on them, and nothing else",
  async (database) => {
    await using folder = await operatorFolder(database);
    await using hs = await TestServer.start({ database, config: folder.serverConfig });
    const [alice, bob] = await hs.register("alice", "bob");
    const room = await bob.createRoom({
      preset: "private_chat",
      initial_state: [{ type: "m.room.history_visibility", state_key: "", content: { history_visibility: "joined" } }],
    });
    await bob.sendText(room, "before alice");
    await bob.invite(room, alice.userId);
    await alice.join(room);
    await bob.sendText(room, "while alice");
    await alice.leave(room);
    await bob.sendText(room, "after alice");
    const invited = await bob.createRoom({ invite: [alice.userId], name: "Come in" });
    const foreign = await bob.createRoom();
    const forgotten = await alice.createRoom();
    await alice.leave(forgotten);
    await alice.post(path`/rooms/${forgotten}/forget`);
    await alice.put(path`/user/${alice.userId}/account_data/org.example.a`, { a: 1 });
    await alice.put(path`/user/${alice.userId}/rooms/${room}/account_data/org.example.b`, { b: 2 });
    const upload = await fetch(`${hs.base}/_matrix/media/v3/upload?filename=note.txt`, {
      method: "POST",
      headers: { authorization: `Bearer ${alice.accessToken}`, "content-type": "text/plain" },
      body: "bytes of alice",
    });
    const mediaId = String((await upload.json()).content_uri).split("/").at(-1) ?? "";

    const { code, stdout, stderr } = await folder.run([
      "export-data",
      "-c",
      "homeserver.yaml",
      alice.userId,
      "--output-directory",
      "out",
    ]);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, "out\n");
    const out = join(folder.path, "out");
    const events = await lines(join(out, "rooms", room, "events"));
    const bodies = events.map(({ content }) => (content as { body?: string }).body).filter((body) =>
      body !== undefined
    );
    assert.deepEqual(bodies, ["while alice"]);
    assert.ok(
      events.every(({ type, room_id: id, signatures }) =>
        (id === room || type === "m.room.create") && signatures !== undefined
      ),
    );
    const states = await Array.fromAsync(Deno.readDir(join(out, "rooms", room, "state")));
    assert.equal(states.length, 1);
    const state = await lines(join(out, "rooms", room, "state", states[0]?.name ?? ""));
    assert.ok(state.some(({ type }) => type === "m.room.create"));
    const stripped = await lines(join(out, "rooms", invited, "invite_state"));
    assert.ok(stripped.some(({ type }) => type === "m.room.name"));
    const rooms = (await Array.fromAsync(Deno.readDir(join(out, "rooms")))).map(({ name }) => name);
    assert.deepEqual(rooms.sort(), [invited, room].sort());
    assert.ok(!rooms.includes(foreign) && !rooms.includes(forgotten));
    const [profile] = await lines(join(out, "user_data", "profile"));
    assert.equal(profile?.name, alice.userId);
    const devices = await lines(join(out, "user_data", "devices"));
    assert.deepEqual(devices.map(({ device_id }) => device_id), [alice.deviceId]);
    assert.deepEqual(await lines(join(out, "user_data", "account_data", "global")), [{ "org.example.a": { a: 1 } }]);
    assert.deepEqual(await lines(join(out, "user_data", "account_data", room)), [{ "org.example.b": { b: 2 } }]);
    const [media] = await lines(join(out, "media_ids", mediaId));
    assert.equal(media?.upload_name, "note.txt");
    assert.equal(await Deno.readTextFile(join(out, "media", mediaId)), "bytes of alice");

    const full = await folder.run(["export-data", "-c", "homeserver.yaml", alice.userId, "--output-directory", "out"]);
    assert.deepEqual([full.code, full.stderr], [1, "The folder out must be empty\n"]);
    const nobody = await folder.run(["admin_cmd", "-c", "homeserver.yaml", "export-data", "@nobody:hs.test"]);
    assert.deepEqual([nobody.code, nobody.stderr], [1, "There is no user @nobody:hs.test on this server\n"]);
  },
);

testEachServer("review-recent-signups lists new accounts while the server runs", async (database) => {
  await using folder = await operatorFolder(database);
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const open = await alice.createRoom({ preset: "public_chat", name: "Open\nroom" });
  await alice.createRoom({ preset: "private_chat" });
  await bob.join(open);
  const run = (...args: string[]) => folder.run(["synapse_review_recent_signups", "-c", "homeserver.yaml", ...args]);
  const all = await run();
  assert.equal(all.code, 0, all.stderr);
  const created = "# Created: \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d\n# Email: None\n# IPs: [\\d.]*\n";
  assert.match(
    all.stdout,
    new RegExp(
      `^${created}# Number joined public rooms: 1 \\(Open room\\)\n# Number joined private rooms: 1\n#\n${alice.userId}\n\n` +
        `${created}# Number joined public rooms: 1 \\(Open room\\)\n# Number joined private rooms: 0\n#\n${bob.userId}\n\n$`,
    ),
  );
  assert.equal((await run("-u")).stdout, `${alice.userId}\n${bob.userId}\n`);
  assert.equal((await run("-u", "-s", "1ms")).stdout, "");
  assert.equal((await run("-s", "yesterday")).code, 2);
});

for (const dialect of DIALECTS) {
  Deno.test(`update-database makes the schema and says which it is [${dialect}]`, async () => {
    await using database = await createEmptyDatabase(dialect);
    await using folder = await operatorFolder(database);
    const early = await folder.run(["review-recent-signups", "-c", "homeserver.yaml"]);
    assert.equal(early.code, 1);
    assert.match(early.stderr, /^(There is no database .*|The database is empty: no server has run on it)\n$/);
    for (const _ of ["first", "second"]) {
      const { code, stdout, stderr } = await folder.run([
        "update_synapse_database",
        "--database-config",
        "homeserver.yaml",
      ]);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^The database is at schema \d{4}_\w+ \(\d+ steps\)\n$/);
    }
    assert.equal((await folder.run(["review-recent-signups", "-c", "homeserver.yaml"])).code, 0);
  });
}
