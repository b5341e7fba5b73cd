/**
 * Every operation of Synapse's admin API is routed, asks for a token and refuses who is no administrator. The list is
 * `tests/fixtures/admin_operations.tsv`: `open` needs no token, `self` is also for users themselves, `alias` is another
 * path of an operation that is listed.
 */
import assert from "node:assert/strict";
import { createTestDatabase, DIALECTS } from "../harness/databases.ts";
import { TestServer } from "../harness/server.ts";

/** Values that have the grammar of the parameters they stand for. */
const SAMPLES: Readonly<Record<string, string>> = {
  address: "a@example.org",
  destination: "other.test",
  deviceId: "DEVICE",
  eventId: "$unknown",
  mediaId: "abc",
  medium: "email",
  reportId: "1",
  roomId: "!unknown:hs.test",
  serverName: "hs.test",
  userId: "@nobody:hs.test",
};

function fill(path: string): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(SAMPLES[name] ?? "x"));
}

Deno.test("every operation of Synapse's admin API is routed, and for administrators", async (t) => {
  const [dialect = "sqlite"] = DIALECTS;
  await using database = await createTestDatabase(dialect);
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const text = await Deno.readTextFile(new URL("../fixtures/admin_operations.tsv", import.meta.url));
  const rows = text.trim().split("\n").slice(1).map((line) => line.split("\t"));
  assert.equal(rows.filter(([access]) => access !== "alias").length, 100);
  for (const [access = "", method = "", path = ""] of rows) {
    const name = `${method} ${path}`;
    await t.step(name, async () => {
      const target = `/_synapse/admin/${fill(path)}`;
      const body = method === "GET" ? {} : { body: {} };
      const answer = await hs.anyone.request(method, target, body);
      assert.notEqual(answer.body?.errcode, "M_UNRECOGNIZED", `${name} is not routed`);
      if (access === "open") return assert.ok(answer.status === 200 || answer.status === 400, `${answer.status}`);
      assert.deepEqual([answer.status, answer.body?.errcode], [401, "M_MISSING_TOKEN"]);
      const refused = await alice.request(method, target, body);
      assert.deepEqual([refused.status, refused.body?.errcode], [403, "M_FORBIDDEN"]);
    });
  }
});
