/**
 * Every property that the specification declares of a body, and every query parameter with a grammar, is given values
 * of all other types, and what is required is left out: the request is refused as malformed, and changes nothing.
 */
import assert from "node:assert/strict";
import { type Answer, type Json, path } from "../harness/client.ts";
import { createTestDatabase, DIALECTS } from "../harness/databases.ts";
import { type Operation, OPERATIONS } from "../harness/openapi.ts";
import { TestServer } from "../harness/server.ts";
import { wrongBodies, wrongQueries } from "../harness/wrong_values.ts";
import { goodRequests, senderOf } from "./cases.ts";
import type { GoodRequest } from "./requests.ts";
import { readTables } from "./tables.ts";
import { World } from "./world.ts";

const CONFIG = {
  account_threepid_delegates: { msisdn: "http://127.0.0.1:1" },
  allow_guest_access: true,
  email: { smtp_host: "127.0.0.1", smtp_port: 1, notif_from: "noreply@hs.test" },
  login_via_existing_session: { enabled: true, require_ui_auth: false },
  public_baseurl: "https://hs.test/",
  url_preview_enabled: true,
  url_preview_ip_range_blacklist: ["0.0.0.0/0", "::/0"],
};

/** Requests that are refused otherwise or not at all, with the reason. */
const ALLOWED: readonly { readonly what: RegExp; readonly status: number; readonly why: string }[] = [
  {
    what: /^(queryLocationByProtocol|queryUserByProtocol): query \{"fields"/,
    status: 404,
    why: "there is no bridge to ask; each has fields of its own",
  },
  {
    what: /^redirectTo(IdP|SSO): query/,
    status: 404,
    why: "there is no single sign-on",
  },
  {
    what: /^post3PIDs: body\.three_pid_creds\.id_(server|access_token) is missing$/,
    status: 400,
    why:
      "addresses are bound by another endpoint today, so nothing is asked of an identity server; this one is refused for its session",
  },
  {
    what: /^uploadCrossSigningSignatures: body\.@/,
    status: 200,
    why: "each key is refused for itself, in the answer",
  },
];

interface Wrong {
  readonly what: string;
  readonly query: Readonly<Record<string, string>>;
  readonly body?: Json;
}

function wrongRequests(operation: Operation, { query, body }: GoodRequest): Wrong[] {
  return [
    ...wrongBodies(operation, body).map(({ what, body }) => ({ what: `body${what}`, query, body })),
    ...wrongQueries(operation).map((wrong) => ({
      what: `query ${JSON.stringify(wrong)}`,
      query: { ...query, ...wrong },
      ...(body === undefined ? {} : { body }),
    })),
  ];
}

function isRefusal({ status, body }: Answer): boolean {
  return status === 400 && /^M_(BAD_JSON|MISSING_PARAM|INVALID_PARAM|INVALID_USERNAME)$/.test(body.errcode);
}

Deno.test("wrong types are refused wherever the specification declares a type, and change nothing", async (t) => {
  await using database = await createTestDatabase(DIALECTS[0] ?? "sqlite");
  await using hs = await TestServer.start({ database, config: CONFIG });
  const { db } = hs.parts.core;
  const world = await World.create(hs);
  const used = new Set<string>();
  let sent = 0;
  let before = await readTables(db);
  for (const operation of OPERATIONS) {
    const { id, method, path: target } = operation;
    await t.step(`${method} ${target}`, async () => {
      const sentBefore = sent;
      for (const good of goodRequests(operation, world)) {
        const full = target.replace(/\{(\w+)\}/g, (_, name: string) => path`${good.params[name] ?? "x"}`);
        for (const { what, ...options } of wrongRequests(operation, good)) {
          const answer = await senderOf(operation, world).request(method, full, options);
          sent++;
          if (isRefusal(answer)) continue;
          const shown = `${id}: ${what}`;
          const allowed = ALLOWED.find((one) => one.what.test(shown) && one.status === answer.status);
          assert.ok(allowed, `${shown}: ${answer.status} ${JSON.stringify(answer.body)}`);
          used.add(allowed.why);
        }
      }
      if (sent === sentBefore) return;
      const after = await readTables(db);
      for (const [name, rows] of before) assert.equal(after.get(name), rows, `the table ${name} changed`);
      before = after;
    });
  }
  assert.ok(sent > 1_500, `only ${sent} requests were sent`);
  assert.deepEqual(ALLOWED.filter(({ why }) => !used.has(why)), []);
});
