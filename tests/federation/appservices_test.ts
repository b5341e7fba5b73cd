/** Application services and users of other servers. */
import assert from "node:assert/strict";
import { AS_TOKEN, TestAppservice } from "../harness/appservice.ts";
import { path } from "../harness/client.ts";
import { testNetwork } from "./network.ts";

testNetwork("a service is told of invitations from other servers, and its users accept", async ({ servers }) => {
  const [one, two] = servers;
  await using service = await TestAppservice.start({
    namespaces: { users: [{ exclusive: true, regex: "@bridge_.*" }], aliases: [], rooms: [] },
  });
  await two.hs.restart(service.config);
  const body = { type: "m.login.application_service", username: "bridge_one" };
  const { user_id: puppet } = await two.hs.anyone.ok("POST", "/register", { token: AS_TOKEN, body });
  const [alice] = await one.hs.register("alice");
  const roomId = await alice.createRoom({ preset: "private_chat", invite: [puppet] });
  const invite = await service.untilEvent(({ room_id: room }) => room === roomId);
  assert.deepEqual([invite.type, invite.state_key, invite.content.membership], ["m.room.member", puppet, "invite"]);
  const query = { user_id: puppet };
  await two.hs.anyone.ok("POST", path`/join/${roomId}`, { token: AS_TOKEN, query, body: {} });
  const eventId = await alice.sendText(roomId, "hello bridge");
  assert.equal((await service.untilEvent(({ event_id: id }) => id === eventId)).sender, alice.userId);
});
