import assert from "node:assert/strict";
import { createTestDatabase, DIALECTS } from "../harness/databases.ts";
import { OPERATIONS } from "../harness/openapi.ts";
import { TestServer } from "../harness/server.ts";

const VERSIONS = "/_matrix/client/versions";
const UNSTABLE = "/_matrix/client/unstable";

/** An endpoint of each feature that has one. */
const ENDPOINTS: Readonly<Record<string, readonly [string, string]>> = {
  "fi.mau.msc2659.stable": ["POST", "/_matrix/client/v1/appservice/x/ping"],
  "io.element.msc4388": ["GET", `${UNSTABLE}/io.element.msc4388/rendezvous`],
  "org.matrix.e2e_cross_signing": ["POST", "/keys/device_signing/upload"],
  "org.matrix.msc2285.stable": ["POST", "/rooms/!x:hs.test/receipt/m.read.private/$x"],
  "org.matrix.msc2432": ["GET", "/rooms/!x:hs.test/aliases"],
  "org.matrix.msc3030": ["GET", `${UNSTABLE}/org.matrix.msc3030/rooms/!x:hs.test/timestamp_to_event?ts=1&dir=f`],
  "org.matrix.msc3391": ["DELETE", `${UNSTABLE}/org.matrix.msc3391/user/@x:hs.test/account_data/x`],
  "org.matrix.msc3440.stable": ["GET", "/_matrix/client/v1/rooms/!x:hs.test/threads"],
  "org.matrix.msc3771": ["POST", "/rooms/!x:hs.test/receipt/m.read/$x"],
  "com.beeper.msc4446": ["POST", "/rooms/!x:hs.test/read_markers"],
  "fi.mau.msc2815": ["GET", "/rooms/!x:hs.test/event/$x"],
  "org.matrix.msc2836": ["POST", `${UNSTABLE}/event_relationships`],
  "org.matrix.msc3814": ["GET", `${UNSTABLE}/org.matrix.msc3814.v1/dehydrated_device`],
  "org.matrix.msc3827.stable": ["POST", "/publicRooms"],
  "org.matrix.msc3856": ["GET", `${UNSTABLE}/org.matrix.msc3856/rooms/!x:hs.test/threads`],
  "org.matrix.msc3874": ["GET", "/rooms/!x:hs.test/messages"],
  "org.matrix.msc3882": ["POST", "/_matrix/client/v1/login/get_token"],
  "org.matrix.msc3981": ["GET", "/_matrix/client/v1/rooms/!x:hs.test/relations/$x"],
  "org.matrix.msc4108": ["POST", `${UNSTABLE}/org.matrix.msc4108/rendezvous`],
  "org.matrix.msc4140": ["GET", `${UNSTABLE}/org.matrix.msc4140/delayed_events`],
  "org.matrix.msc4143": ["GET", `${UNSTABLE}/org.matrix.msc4143/rtc/transports`],
  "org.matrix.msc4151.stable": ["POST", "/rooms/!x:hs.test/report"],
  "org.matrix.msc4262": ["POST", `${UNSTABLE}/org.matrix.simplified_msc3575/sync`],
  "org.matrix.msc4306": ["GET", `${UNSTABLE}/io.element.msc4306/rooms/!x:hs.test/thread/$x/subscription`],
  "org.matrix.simplified_msc3575": ["POST", `${UNSTABLE}/org.matrix.simplified_msc3575/sync`],
  "uk.half-shot.msc2666.query_mutual_rooms": ["GET", `${UNSTABLE}/uk.half-shot.msc2666/user/mutual_rooms?user_id=@x:y`],
  "uk.half-shot.msc2666.query_mutual_rooms.stable": ["GET", "/_matrix/client/v1/mutual_rooms?user_id=@x:y"],
  "uk.tcpip.msc4133": ["GET", `${UNSTABLE}/uk.tcpip.msc4133/profile/@x:hs.test/x`],
  "uk.tcpip.msc4133.stable": ["GET", "/profile/@x:hs.test/x"],
};

/** Features that change what other endpoints answer. */
const WITHOUT_ENDPOINT: readonly RegExp[] = [
  /e2ee_forced/,
  /label_based_filtering/,
  /msc3912/,
  /msc4155/,
  /msc4222/,
  /msc4354/,
  /msc4380/,
];

const CONFIG = {
  public_baseurl: "https://hs.test/",
  max_event_delay_duration: "1d",
  login_via_existing_session: { enabled: true },
  experimental_features: {
    msc2836_enabled: true,
    msc4108_enabled: true,
    msc4306_enabled: true,
    msc4354_enabled: true,
    msc4388_mode: "open",
  },
};

Deno.test("every feature that /versions tells of has its endpoint", async (t) => {
  await using database = await createTestDatabase(DIALECTS[0] ?? "sqlite");
  await using hs = await TestServer.start({ database, config: CONFIG });
  const [alice] = await hs.register("alice");
  const { unstable_features: features } = await alice.get(VERSIONS);
  for (const [name, isOffered] of Object.entries(features)) {
    if (isOffered !== true || WITHOUT_ENDPOINT.some((pattern) => pattern.test(name))) continue;
    await t.step(name, async () => {
      const endpoint = ENDPOINTS[name];
      assert.ok(endpoint !== undefined, "no endpoint is known for it");
      const [method, path] = endpoint;
      const { body } = await alice.request(method, path, method === "GET" || method === "DELETE" ? {} : { body: {} });
      assert.notEqual(body?.errcode, "M_UNRECOGNIZED");
    });
  }
});

Deno.test("what the configuration does not switch on is not told of", async () => {
  await using database = await createTestDatabase(DIALECTS[0] ?? "sqlite");
  await using hs = await TestServer.start({
    database,
    config: {
      experimental_features: { msc3575_enabled: false },
      encryption_enabled_by_default_for_room_type: "invite",
    },
  });
  const { unstable_features: features } = await hs.anyone.get(VERSIONS);
  const switched = [
    "io.element.msc4388",
    "org.matrix.msc2836",
    "org.matrix.msc3882",
    "org.matrix.msc4108",
    "org.matrix.msc4140",
    "org.matrix.msc4306",
  ];
  for (const name of [...switched, "org.matrix.msc4354", "org.matrix.simplified_msc3575"]) {
    assert.equal(features[name], false, name);
  }
  assert.equal(features["io.element.e2ee_forced.public"], false);
  assert.equal(features["io.element.e2ee_forced.private"], true);
});

/** What may be missing: single sign-on and OAuth 2.0 are optional, the last is newer than the versions told of. */
const OPTIONAL: readonly RegExp[] = [/\/login\/sso\/redirect/, /\/auth_metadata$/, /\/policy_server$/];

Deno.test("the versions told of have all their endpoints", async () => {
  await using database = await createTestDatabase(DIALECTS[0] ?? "sqlite");
  await using hs = await TestServer.start({ database });
  const { versions } = await hs.anyone.get(VERSIONS);
  assert.equal(versions.at(-1), "v1.19");
  const missing: string[] = [];
  for (const { method, path } of OPERATIONS) {
    if (OPTIONAL.some((pattern) => pattern.test(path.replace(/\/\{idpId\}$/, "")))) continue;
    const options = method === "GET" || method === "DELETE" ? {} : { body: {} };
    const { body } = await hs.anyone.request(method, path.replace(/\{\w+\}/g, "x"), options);
    if (body?.errcode === "M_UNRECOGNIZED") missing.push(`${method} ${path}`);
  }
  assert.deepEqual(missing, []);
});
