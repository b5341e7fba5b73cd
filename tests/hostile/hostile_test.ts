/**
 * Drives every operation of the specification with hostile paths, queries and bodies, as a user in a room with a
 * history. Nothing may fail inside the server, stay without an answer or stop the server from working; the harness
 * also checks every answer against the specification's schemas.
 *
 * `HOSTILE_SEED` chooses other values, `HOSTILE_EFFORT` more of them (1000 for all), `HOSTILE_ONLY` one operation.
 */
import assert from "node:assert/strict";
import type { TestClient } from "../harness/client.ts";
import { type Operation, OPERATIONS } from "../harness/openapi.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { DESTRUCTIVE, goodRequests, senderOf } from "./cases.ts";
import { EXTRA_OPERATIONS } from "./extra_operations.ts";
import { type HostileRequest, hostileRequests } from "./requests.ts";
import { Dice } from "./values.ts";
import { proveUsable, World } from "./world.ts";

const SEED = Number(Deno.env.get("HOSTILE_SEED") ?? 20_260_101);
const EFFORT = Number(Deno.env.get("HOSTILE_EFFORT") ?? 4);
const ONLY = Deno.env.get("HOSTILE_ONLY");
/** Operations that run beside each other, each lane with users and a room of its own. */
const LANES = 3;
const ANSWER_MS = 20_000;
const CONFIG = {
  allow_guest_access: true,
  admin_contact: "mailto:admin@hs.test",
  max_event_delay_duration: "24h",
  public_baseurl: "https://hs.test/",
  server_notices: { system_mxid_localpart: "notices" },
  url_preview_enabled: true,
  url_preview_ip_range_blacklist: ["0.0.0.0/0", "::/0"],
};
/** What is said of other servers, which these requests may name but not reach. */
const ELSEWHERE: ReadonlySet<number> = new Set([502, 504]);

/** Sends one request and returns what is wrong with how it was answered, or null. */
async function problemOf(client: TestClient, request: HostileRequest): Promise<string | null> {
  const { method, path, body, contentType } = request;
  const shown = `${method} ${path.slice(0, 300)} ${typeof body === "string" ? body.slice(0, 600) : body ?? ""}`;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`No answer in ${ANSWER_MS / 1000} s: ${shown}`), ANSWER_MS);
  });
  const headers = contentType === undefined ? {} : { headers: { "content-type": contentType } };
  const sent = client.request(method, path, { ...(body === undefined ? {} : { body }), ...headers }).then(
    ({ status, body: answer }) =>
      status >= 500 && !ELSEWHERE.has(status) ? `${status} ${JSON.stringify(answer)}: ${shown}` : null,
    (error) => `${error instanceof Error ? error.message : error}: ${shown}`,
  );
  try {
    return await Promise.race([sent, silence]);
  } finally {
    clearTimeout(timer);
  }
}

async function driveOperation(operation: Operation, world: World): Promise<{ sent: number; problems: string[] }> {
  const dice = new Dice(SEED, operation.id);
  const problems: string[] = [];
  let sent = 0;
  await world.restore();
  const count = goodRequests(operation, world).length;
  for (let index = 0; index < count; index++) {
    const good = goodRequests(operation, world)[index];
    if (good === undefined) break;
    for (const request of hostileRequests(good, { perPlace: EFFORT, dice })) {
      if (DESTRUCTIVE.has(operation.id)) await world.restore();
      const problem = await problemOf(senderOf(operation, world), request);
      if (problem !== null) problems.push(`${operation.id}: ${problem}`);
      sent++;
    }
  }
  return { sent, problems };
}

testEachServer("no request fails inside the server, whatever it holds", async (database) => {
  console.log(`HOSTILE_SEED=${SEED}`);
  await using hs = await TestServer.start({ database, config: CONFIG });
  const worlds = await Promise.all(Array.from({ length: LANES }, () => World.create(hs)));
  const operations = [...OPERATIONS, ...EXTRA_OPERATIONS].filter(({ id }) => ONLY === undefined || id === ONLY);
  const problems: string[] = [];
  let next = 0;
  let sent = 0;
  await Promise.all(worlds.map(async (world) => {
    for (let operation = operations[next++]; operation !== undefined; operation = operations[next++]) {
      const outcome = await driveOperation(operation, world);
      problems.push(...outcome.problems);
      sent += outcome.sent;
    }
  }));
  assert.deepEqual(problems, [], `${problems.length} of ${sent} requests went wrong with HOSTILE_SEED=${SEED}`);
  assert.ok(sent >= operations.length, `only ${sent} requests were sent`);
  await proveUsable(hs, { name: "before", worlds });
  await hs.restart();
  await proveUsable(hs, { name: "after", worlds });
});
