/** Every operation of the specification that takes JSON refuses what is none, and what is JSON of another kind. */
import assert from "node:assert/strict";
import { createTestDatabase, DIALECTS } from "../harness/databases.ts";
import { path } from "../harness/client.ts";
import { OPERATIONS } from "../harness/openapi.ts";
import { TestServer } from "../harness/server.ts";

Deno.test("malformed JSON and JSON that is no object are refused wherever a body is taken", async (t) => {
  await using database = await createTestDatabase(DIALECTS[0] ?? "sqlite");
  await using hs = await TestServer.start({
    database,
    config: { login_via_existing_session: { enabled: true, require_ui_auth: false } },
  });
  const alice = await hs.registerAdmin("alice");
  const [bob] = await hs.register("bob");
  const roomId = await alice.createRoom();
  const eventId = await alice.sendText(roomId, "hello");
  const { version } = await alice.post("/room_keys/version", { algorithm: "m.test", auth_data: {} });
  const samples: Readonly<Record<string, string>> = {
    ...{ roomId, roomIdOrAlias: roomId, eventId, version, kind: "override", ruleId: ".m.rule.master", keyName: "x" },
    ...{ userId: alice.userId, deviceId: alice.deviceId, roomAlias: "#free:hs.test", receiptType: "m.read" },
    ...{ eventType: "m.room.topic", type: "org.example.any", tag: "u.x", networkId: "x", sessionId: "s", txnId: "t" },
  };
  const before = await alice.get(path`/rooms/${roomId}/state`);
  for (const { method, path: target, body, file } of OPERATIONS) {
    if (body?.content["application/json"] === undefined) continue;
    await t.step(`${method} ${target}`, async () => {
      const userId = file === "admin.yaml" ? bob.userId : alice.userId;
      const full = target.replace(/\{(\w+)\}/g, (_, name) => path`${{ ...samples, userId }[name as string] ?? "x"}`);
      const refused = await alice.request(method, full, { body: "{" });
      assert.deepEqual([refused.status, refused.body.errcode], [400, "M_NOT_JSON"]);
      for (const wrong of ["[]", '"text"', "1", "null"]) {
        const answer = await alice.request(method, full, { body: wrong });
        assert.equal(answer.status, 400, `${wrong}: ${JSON.stringify(answer.body)}`);
        assert.match(answer.body.errcode, /^M_(BAD_JSON|NOT_JSON|MISSING_PARAM|INVALID_PARAM)$/);
      }
    });
  }
  assert.deepEqual((await alice.get(path`/rooms/${roomId}/state`)).length, before.length);
});
