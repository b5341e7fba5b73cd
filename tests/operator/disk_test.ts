import assert from "node:assert/strict";
import { path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { operatorFolder } from "./operator.ts";

testEachServer("disk shows kinds, media, the biggest rooms and what could be freed", async (database) => {
  await using folder = await operatorFolder(database);
  await using hs = await TestServer.start({ database, config: folder.serverConfig });
  const [alice] = await hs.register("alice");
  const big = await alice.createRoom({ room_alias_name: "big", preset: "public_chat" });
  for (let i = 0; i < 20; i++) await alice.sendText(big, "x".repeat(2_000));
  const gone = await alice.createRoom();
  await alice.leave(gone);
  await alice.post(path`/rooms/${gone}/forget`);
  const upload = await fetch(`${hs.base}/_matrix/media/v3/upload`, {
    method: "POST",
    headers: { authorization: `Bearer ${alice.accessToken}`, "content-type": "text/plain" },
    body: "y".repeat(5_000),
  });
  await upload.body?.cancel();
  const json = await folder.run(["disk", "-c", "homeserver.yaml", "--json"]);
  assert.equal(json.code, 0, json.stderr);
  const report = JSON.parse(json.stdout);
  const [first] = report.rooms;
  assert.equal(first.roomId, big);
  assert.equal(first.alias, "#big:hs.test");
  assert.equal(first.isWanted, true);
  assert.ok(first.eventBytes > 40_000 && first.stateBytes > 0 && first.events >= 26);
  assert.equal(report.rooms.find(({ roomId }: { roomId: string }) => roomId === gone).isWanted, false);
  assert.deepEqual(report.media.find(({ kind }: { kind: string }) => kind === "local"), {
    kind: "local",
    files: 1,
    bytes: 5_000,
  });
  const kinds = new Map(report.kinds.map(({ kind, bytes }: { kind: string; bytes: number }) => [kind, bytes]));
  for (const kind of ["events", "state", "search", "media", "users"]) assert.ok(Number(kinds.get(kind)) > 0, kind);
  assert.ok(report.freeable.some(({ what }: { what: string }) => /^1 rooms that all users/.test(what)));
  const text = await folder.run(["disk", "-c", "homeserver.yaml", "--rooms", "1"]);
  assert.match(text.stdout, /^Database: [\d.]+ .B\n(?: +[\d.]+ \w+ {2}[a-z ]+\n)+\nMedia: 4\.9 KB\n/);
  assert.match(
    text.stdout,
    new RegExp(`\nBiggest rooms\n +[\\d.]+ KB {2}${big.replace("!", "!")} #big:hs\\.test: \\d+ events `),
  );
  assert.ok(!text.stdout.includes(gone));
});
