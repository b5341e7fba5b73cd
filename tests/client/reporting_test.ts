import { path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

testEachServer("events, rooms and users are reported by those who may", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const eventId = await alice.sendText(roomId, "spam");
  const event = path`/rooms/${roomId}/report/${eventId}`;
  const room = path`/rooms/${roomId}/report`;
  const user = path`/users/${alice.userId}/report`;
  await bob.fails("POST", event, { status: 404, errcode: "M_NOT_FOUND", body: { reason: "spam" } });
  await bob.join(roomId);
  await bob.post(event, { reason: "spam", score: -100 });
  await bob.post(event, {});
  await bob.post(room, { reason: "bad" });
  await bob.post(user, { reason: "" });
  const unknown = path`/rooms/${roomId}/report/${"$unknown"}`;
  await bob.fails("POST", unknown, { status: 404, errcode: "M_NOT_FOUND", body: {} });
  const noRoom = path`/rooms/${"!nowhere:hs.test"}/report`;
  await bob.fails("POST", noRoom, { status: 404, errcode: "M_NOT_FOUND", body: { reason: "x" } });
  const nobody = path`/users/${"@nobody:hs.test"}/report`;
  await bob.fails("POST", nobody, { status: 404, errcode: "M_NOT_FOUND", body: { reason: "x" } });
  await bob.fails("POST", event, { status: 400, errcode: "M_BAD_JSON", body: { reason: 5 } });
  await bob.fails("POST", event, { status: 400, errcode: "M_BAD_JSON", body: { score: "low" } });
  for (const target of [room, user]) {
    await bob.fails("POST", target, { status: 400, errcode: "M_MISSING_PARAM", body: {} });
    await bob.fails("POST", target, { status: 400, errcode: "M_NOT_JSON", body: "x" });
    await hs.anyone.fails("POST", target, { status: 401, errcode: "M_MISSING_TOKEN", body: { reason: "x" } });
  }
});

testEachServer("reports are limited by rc_reports", async (database) => {
  const config = { rc_reports: { per_second: 0.001, burst_count: 1 } };
  await using hs = await TestServer.start({ database, config });
  const [alice] = await hs.register("alice");
  const target = path`/users/${alice.userId}/report`;
  await alice.post(target, { reason: "me" });
  await alice.fails("POST", target, { status: 429, errcode: "M_LIMIT_EXCEEDED", body: { reason: "me" } });
});
