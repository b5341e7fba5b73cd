import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { testEachServer, TestServer } from "../harness/server.ts";

const URIS = ["turn:turn.hs.test?transport=udp"];

testEachServer("GET /voip/turnServer makes credentials from the shared secret", async (database) => {
  const config = { turn_uris: URIS, turn_shared_secret: "s3cret", turn_user_lifetime: "2h" };
  await using hs = await TestServer.start({ database, config });
  const [alice] = await hs.register("alice");
  const { username, password, ttl, uris } = await alice.get("/voip/turnServer");
  assert.deepEqual([ttl, uris], [7200, URIS]);
  assert.match(username, /^[0-9]{10}:@alice:hs\.test$/);
  assert.equal(password, createHmac("sha1", "s3cret").update(username).digest("base64"));
  await hs.anyone.fails("GET", "/voip/turnServer", { status: 401, errcode: "M_MISSING_TOKEN" });
  await hs.restart({ turn_shared_secret: null, turn_username: "u", turn_password: "p" });
  const fixed = await hs.again(alice).get("/voip/turnServer");
  assert.deepEqual([fixed.username, fixed.password], ["u", "p"]);
});

testEachServer("without a TURN server there is nothing; guests may be left out", async (database) => {
  await using hs = await TestServer.start({ database, config: { allow_guest_access: true } });
  const [alice] = await hs.register("alice");
  const guest = await hs.registerGuest();
  assert.deepEqual(await alice.get("/voip/turnServer"), {});
  await hs.restart({ turn_uris: URIS, turn_shared_secret: "s", turn_allow_guests: false });
  assert.deepEqual(await hs.again(guest).get("/voip/turnServer"), {});
});

testEachServer("GET /rtc/transports tells what is configured", async (database) => {
  const transport = { type: "livekit", livekit_service_url: "https://rtc.hs.test" };
  await using hs = await TestServer.start({ database, config: { matrix_rtc: { transports: [transport] } } });
  const [alice] = await hs.register("alice");
  for (const prefix of ["v1", "unstable/org.matrix.msc4143"]) {
    const target = `/_matrix/client/${prefix}/rtc/transports`;
    assert.deepEqual(await alice.get(target), { rtc_transports: [transport] });
    await hs.anyone.fails("GET", target, { status: 401, errcode: "M_MISSING_TOKEN" });
  }
});
