import assert from "node:assert/strict";
import { testEachServer, TestServer } from "../harness/server.ts";

testEachServer("what the server does not have is not found", async (database) => {
  await using hs = await TestServer.start({ database });
  const missing = { status: 404, errcode: "M_UNRECOGNIZED" };
  await hs.anyone.fails("GET", "/_matrix/client/v1/auth_metadata", missing);
  await hs.anyone.fails("GET", "/login/sso/redirect/saml", { ...missing, query: { redirectUrl: "https://x.test/" } });
  assert.equal((await hs.anyone.request("GET", "/.well-known/matrix/policy_server")).status, 404);
});

testEachServer("a server without bridges knows no networks", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  assert.deepEqual(await alice.get("/thirdparty/protocols"), {});
  const targets = ["protocol/irc", "location", "location/irc", "user", "user/irc"].map((tail) => `/thirdparty/${tail}`);
  for (const target of targets) await alice.fails("GET", target, { status: 404, errcode: "M_NOT_FOUND" });
  for (const target of [...targets, "/thirdparty/protocols"]) {
    await hs.anyone.fails("GET", target, { status: 401, errcode: "M_MISSING_TOKEN" });
  }
});
