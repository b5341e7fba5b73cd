/**
 * Every endpoint of the specification's client-server API that this server claims is routed, and asks for a token where
 * the specification says so. The list is `tests/fixtures/endpoints.tsv`, made from the OpenAPI files.
 */
import assert from "node:assert/strict";
import { createTestDatabase, DIALECTS } from "../harness/databases.ts";
import { OPERATIONS } from "../harness/openapi.ts";
import { TestServer } from "../harness/server.ts";

interface Endpoint {
  readonly method: string;
  readonly path: string;
  readonly security: string;
  readonly file: string;
}

/** Modules and endpoints that are not here, or only where the configuration turns them on. Sorted. */
const NOT_YET: readonly (string | RegExp)[] = [
  "oauth_server_metadata.yaml",
  "policy_server.yaml",
  "sso_login_redirect.yaml",
  /\/preview_url$/,
];

async function readEndpoints(): Promise<Endpoint[]> {
  const text = await Deno.readTextFile(new URL("../fixtures/endpoints.tsv", import.meta.url));
  const rows = text.trim().split("\n").slice(1).map((line) => line.split("\t"));
  return rows.filter(([api]) => api === "client-server").map((
    [, method = "", path = "", security = "", file = ""],
  ) => ({
    method,
    path: path.trim(),
    security,
    file,
  }));
}

/** Values that have the grammar of the parameters they stand for. */
const SAMPLES: Readonly<Record<string, string>> = {
  userId: "@nobody:hs.test",
  roomId: "!unknown:hs.test",
  roomIdOrAlias: "!unknown:hs.test",
  roomAlias: "#unknown:hs.test",
  eventId: "$unknown",
  serverName: "hs.test",
  mediaId: "abc",
  deviceId: "DEVICE",
  filterId: "0",
  kind: "override",
  ruleId: ".m.rule.master",
  receiptType: "m.read",
  keyName: "displayname",
  version: "1",
};

function fill(path: string): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(SAMPLES[name] ?? "x"));
}

function isClaimed({ file, path }: Pick<Endpoint, "file" | "path">): boolean {
  return !NOT_YET.some((entry) => typeof entry === "string" ? entry === file : entry.test(path));
}

Deno.test("every endpoint of the specification that is claimed is routed and guarded", async (t) => {
  const [dialect = "sqlite"] = DIALECTS;
  await using database = await createTestDatabase(dialect);
  await using hs = await TestServer.start({ database });
  const endpoints = (await readEndpoints()).filter(isClaimed);
  assert.ok(endpoints.length > 100, `only ${endpoints.length} endpoints are claimed`);
  for (const endpoint of endpoints) {
    const { method, path, security } = endpoint;
    await t.step(`${method} ${path}`, async () => {
      const body = method === "GET" || method === "DELETE" ? {} : { body: {} };
      const answer = await hs.anyone.request(method, fill(path), body);
      assert.notEqual(answer.body?.errcode, "M_UNRECOGNIZED", `not routed: ${answer.status}`);
      if (security === "accessTokenBearer") {
        assert.deepEqual([answer.status, answer.body?.errcode], [401, "M_MISSING_TOKEN"]);
      } else {
        assert.notEqual(answer.status, 500);
      }
    });
  }
});

Deno.test("v3 endpoints answer under r0 too", async () => {
  const [dialect = "sqlite"] = DIALECTS;
  await using database = await createTestDatabase(dialect);
  await using hs = await TestServer.start({ database });
  const missing: string[] = [];
  for (const endpoint of (await readEndpoints()).filter(isClaimed)) {
    if (!endpoint.path.startsWith("/_matrix/client/v3/")) continue;
    const path = fill(endpoint.path).replace("/v3/", "/r0/");
    const body = endpoint.method === "GET" || endpoint.method === "DELETE" ? {} : { body: {} };
    const answer = await hs.anyone.request(endpoint.method, path, body);
    if (answer.body?.errcode === "M_UNRECOGNIZED") missing.push(`${endpoint.method} ${path}`);
  }
  assert.deepEqual(missing, []);
});

/** What the module "Guest access" allows. */
const FOR_GUESTS: ReadonlySet<string> = new Set([
  ...["getRoomState", "getEventContext", "getOneRoomEvent", "getRoomStateWithKey", "getRoomEvents", "getMembersByRoom"],
  ...["roomInitialSync", "sync", "getEvents", "peekEvents", "getContentAuthed", "getContentOverrideNameAuthed"],
  ...["getContentThumbnailAuthed", "joinRoomById", "leaveRoom", "sendMessage", "setRoomStateWithKey", "sendToDevice"],
  ...["setProfileField", "deleteProfileField", "getDevices", "getDevice", "updateDevice", "getTokenOwner"],
  ...["uploadKeys", "queryKeys", "claimKeys"],
]);
/** What clients cannot do without to use those, as Synapse has it; ending a session harms nobody. */
const ALSO_FOR_GUESTS: ReadonlySet<string> = new Set([
  ...["defineFilter", "getCapabilities", "getFilter", "getJoinedRooms", "getKeysChanges"],
  ...["getRelatingEvents", "getRelatingEventsWithRelType", "getRelatingEventsWithRelTypeAndEventType"],
  ...["getSpaceHierarchy", "getTurnServer", "joinRoom", "logout", "logout_all", "queryPublicRooms"],
]);

Deno.test("an unknown token is refused, and guests are let in where the specification says so only", async (t) => {
  const [dialect = "sqlite"] = DIALECTS;
  await using database = await createTestDatabase(dialect);
  await using hs = await TestServer.start({ database, config: { allow_guest_access: true } });
  const guest = await hs.registerGuest();
  const guarded = OPERATIONS.filter(({ security }) => security[0] === "accessTokenBearer").filter(isClaimed);
  assert.ok(guarded.length > 100, `only ${guarded.length} endpoints are claimed`);
  for (const { id, method, path } of guarded) {
    const options = method === "GET" || method === "DELETE" ? {} : { body: {} };
    await t.step(`${method} ${path}`, async () => {
      for (const token of ["unknown", "syt_bm9ib2R5_abcdefghijklmnopqrst_0abcde", "\u00e9", "x".repeat(5_000)]) {
        const answer = await hs.anyone.request(method, fill(path), { ...options, token });
        assert.deepEqual([answer.status, answer.body?.errcode], [401, "M_UNKNOWN_TOKEN"]);
        assert.equal(answer.body.soft_logout ?? false, false);
      }
      const caller = id.startsWith("logout") ? await hs.registerGuest() : guest;
      const { body } = await caller.request(method, fill(path), options);
      // Joining has refusals of its own for guests.
      const isLetIn = !["Guest access not allowed", "You are not a server admin"].includes(body?.error);
      assert.equal(isLetIn, FOR_GUESTS.has(id) || ALSO_FOR_GUESTS.has(id), `${id}: ${JSON.stringify(body)}`);
    });
  }
});
