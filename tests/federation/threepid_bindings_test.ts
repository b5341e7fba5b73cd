/** Addresses are published at identity servers, and no more when a user removes them. */
import assert from "node:assert/strict";
import { authorize } from "../../src/federation/x_matrix.ts";
import { canonicalJson } from "../../src/protocol/canonical_json.ts";
import { testEachServer } from "../harness/server.ts";
import { startIdentityServer } from "./identity_server.ts";
import { startResident } from "./resident.ts";

const ADDRESS = { medium: "email", address: "alice@example.org" };

testEachServer(
  "an address is published with the user's token, and unpublished with the server's signature",
  async (database) => {
    await using resident = await startResident(database);
    await using identity = await startIdentityServer();
    const [alice] = await resident.hs.register("alice");
    const seen: { url: string; body: string; authorization: string | undefined }[] = [];
    let isWilling = true;
    identity.peer.handler = ({ url, body, headers }) => {
      seen.push({ url, body, authorization: headers["authorization"] });
      if (!isWilling) return { status: 400, json: { errcode: "M_UNRECOGNIZED", error: "No such thing" } };
      return { json: url.endsWith("/bind") ? { ...ADDRESS, mxid: alice.userId } : {} };
    };
    const creds = { sid: "1", client_secret: "s" };
    const bind = { ...creds, id_server: identity.name, id_access_token: "secret-of-the-user" };
    await alice.post("/account/3pid/bind", bind);
    assert.equal(seen[0]?.url, "/_matrix/identity/v2/3pid/bind");
    assert.equal(seen[0]?.authorization, "Bearer secret-of-the-user");
    assert.deepEqual(JSON.parse(seen[0]?.body ?? ""), { ...creds, mxid: alice.userId });

    // Where it was published is remembered.
    assert.deepEqual(await alice.post("/account/3pid/unbind", ADDRESS), { id_server_unbind_result: "success" });
    const body = { mxid: alice.userId, threepid: ADDRESS };
    assert.deepEqual(JSON.parse(seen[1]?.body ?? ""), body);
    const signed = { method: "POST", uri: "/_matrix/identity/v2/3pid/unbind", destination: identity.name };
    const expected = authorize({ ...signed, bodyText: canonicalJson(body) }, resident.hs.parts.core.signer);
    assert.equal(seen[1]?.authorization, expected);
    assert.deepEqual(await alice.post("/account/3pid/unbind", ADDRESS), { id_server_unbind_result: "no-support" });
    assert.equal(seen.length, 2);

    isWilling = false;
    const refused = await alice.fails("POST", "/account/3pid/bind", { body: bind, status: 502, errcode: "M_UNKNOWN" });
    assert.match(refused.error, /No such thing/);
    const named = { ...ADDRESS, id_server: identity.name };
    assert.deepEqual(await alice.post("/account/3pid/delete", named), { id_server_unbind_result: "no-support" });
    const unsignable = { body: { ...named, medium: "\ud800" }, status: 400, errcode: "M_BAD_JSON" };
    await alice.fails("POST", "/account/3pid/unbind", unsignable);
    const bad = { body: { ...bind, id_server: "no server" }, status: 502, errcode: "M_UNKNOWN" };
    await alice.fails("POST", "/account/3pid/bind", bad);
    await resident.hs.anyone.fails("POST", "/account/3pid/bind", {
      body: bind,
      status: 401,
      errcode: "M_MISSING_TOKEN",
    });
  },
);
