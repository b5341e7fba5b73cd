import assert from "node:assert/strict";
import { path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

testEachServer("a user gets an OpenID token for themselves only", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const target = path`/user/${alice.userId}/openid/request_token`;
  const { access_token: token, ...rest } = await alice.post(target);
  assert.deepEqual(rest, { token_type: "Bearer", matrix_server_name: "hs.test", expires_in: 3600 });
  assert.equal(typeof token, "string");
  assert.notEqual((await alice.post(target)).access_token, token);
  await alice.fails("GET", "/account/whoami", { status: 401, errcode: "M_UNKNOWN_TOKEN", token });
  await bob.fails("POST", target, { status: 403, errcode: "M_FORBIDDEN", body: {} });
  await hs.anyone.fails("POST", target, { status: 401, errcode: "M_MISSING_TOKEN", body: {} });
  await alice.fails("POST", target, { status: 400, errcode: "M_BAD_JSON", body: [] });
});
