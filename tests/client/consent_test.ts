/** The terms of the server: `user_consent`. */
import assert from "node:assert/strict";
import { type Json, path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const FORM = { "content-type": "application/x-www-form-urlencoded" };

async function withTerms(work: (config: Json) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/en`);
    const page = (version: string) =>
      `<h1>Terms ${version}</h1>{% if public_version %}public{% elif has_consented %}agreed{% else %}` +
      `<input name="u" value="{{ user }}"><input name="h" value="{{ userhmac }}">{% endif %}`;
    for (const version of ["1.0", "2.0"]) await Deno.writeTextFile(`${folder}/en/${version}.html`, page(version));
    await work({
      form_secret: "secret of forms",
      listeners: [{ port: 0, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client", "consent"] }] }],
      public_baseurl: "https://hs.test/",
      server_notices: { system_mxid_localpart: "notices", auto_join: true },
      user_consent: {
        template_dir: folder,
        version: "1.0",
        policy_name: "Our terms",
        require_at_registration: false,
        block_events_error: "Agree first: %(consent_uri)s",
        server_notice_content: { msgtype: "m.text", body: "Please agree: %(consent_uri)s" },
      },
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

testEachServer("who has not agreed to the terms cannot send, is told where to, and then can", async (database) => {
  await withTerms(async (config) => {
    await using hs = await TestServer.start({ database, config });
    const [alice, bob] = await hs.register("alice", "bob");
    const refusal = await alice.fails("POST", "/createRoom", { body: {}, status: 403, errcode: "M_CONSENT_NOT_GIVEN" });
    assert.equal(refusal.error, `Agree first: ${refusal.consent_uri}`);
    const link = new URL(refusal.consent_uri);
    assert.deepEqual([link.origin, link.pathname, link.searchParams.get("u")], [
      "https://hs.test",
      "/_matrix/consent",
      "alice",
    ]);
    const page = await hs.anyone.ok("GET", link.pathname + link.search);
    assert.match(page, /Terms 1\.0[^]*name="u" value="alice"/);
    const fields = { u: "alice", h: link.searchParams.get("h") ?? "", v: "1.0" };
    const post = (changed: Json) => {
      const body = new URLSearchParams({ ...fields, ...changed }).toString();
      return hs.anyone.request("POST", "/_matrix/consent", { body, headers: FORM });
    };
    assert.equal((await post({ u: "bob" })).status, 403);
    assert.equal((await post({ v: "3.0" })).status, 404);
    assert.equal((await post({ v: "../../etc" })).status, 404);
    assert.equal((await post({})).status, 200);
    assert.match(await hs.anyone.ok("GET", link.pathname + link.search), /agreed/);
    const roomId = await alice.createRoom({ preset: "public_chat" });
    await bob.fails("POST", path`/join/${roomId}`, { body: {}, status: 403, errcode: "M_CONSENT_NOT_GIVEN" });
    await alice.put(path`/rooms/${roomId}/send/m.room.message/1`, { msgtype: "m.text", body: "hi" });

    await hs.restart({ user_consent: { ...config.user_consent, version: "2.0" } });
    const refused = { body: { msgtype: "m.text", body: "hi" }, status: 403, errcode: "M_CONSENT_NOT_GIVEN" };
    await hs.again(alice).fails("PUT", path`/rooms/${roomId}/send/m.room.message/2`, refused);
    assert.match(await hs.anyone.ok("GET", "/_matrix/consent?v=1.0"), /Terms 1\.0[^]*public/);
  });
});

testEachServer("a notice asks for agreement once", async (database) => {
  await withTerms(async (config) => {
    await using hs = await TestServer.start({ database, config });
    const [alice] = await hs.register("alice");
    await alice.get("/sync");
    const { rooms } = await alice.get("/sync");
    const bodies = Object.values(rooms.join).flatMap((room: Json) => room.timeline.events)
      .filter((event: Json) => event.type === "m.room.message").map((event: Json) => event.content.body);
    assert.equal(bodies.length, 1);
    assert.match(bodies[0], /^Please agree: https:\/\/hs\.test\/_matrix\/consent\?u=alice&h=[0-9a-f]{64}$/);
    // In the room of the notice everybody may speak, as far as its power levels let them: not because of the terms.
    const [roomId = ""] = Object.keys(rooms.join);
    const said = await alice.request("PUT", path`/rooms/${roomId}/send/m.room.message/1`, { body: { body: "?" } });
    assert.deepEqual([said.status, said.body.errcode], [403, "M_FORBIDDEN"]);
  });
});

testEachServer("terms are part of registering where that is asked for", async (database) => {
  await withTerms(async (config) => {
    const user_consent = { ...config.user_consent, require_at_registration: true };
    await using hs = await TestServer.start({ database, config: { ...config, user_consent } });
    const wanted = { username: "alice", password: "secret" };
    const challenge = await hs.anyone.fails("POST", "/register", { body: wanted, status: 401, errcode: undefined });
    assert.deepEqual(challenge.flows, [{ stages: ["m.login.dummy", "m.login.terms"] }]);
    const en = { name: "Our terms", url: "https://hs.test/_matrix/consent?v=1.0" };
    assert.deepEqual(challenge.params["m.login.terms"], { policies: { privacy_policy: { version: "1.0", en } } });
    const { session } = challenge;
    const body = new URLSearchParams({ session }).toString();
    const target = "/_matrix/client/v3/auth/m.login.terms/fallback/web";
    assert.match(
      await hs.anyone.ok("GET", `${target}?session=${session}`),
      /href="https:\/\/hs\.test\/_matrix\/consent\?v=1\.0"/,
    );
    await hs.anyone.ok("POST", target, { body, headers: FORM });
    const account = await hs.anyone.post("/register", { ...wanted, auth: { type: "m.login.dummy", session } });
    const headers = { authorization: `Bearer ${account.access_token}` };
    await hs.anyone.ok("POST", "/createRoom", { body: {}, headers });
  });
});
