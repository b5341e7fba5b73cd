import assert from "node:assert/strict";
import type { Json } from "./client.ts";
import { schemaProblems } from "./json_schema.ts";
import { findOperation, OPERATIONS } from "./openapi.ts";
import { responseProblems } from "./response_check.ts";

function problems(request: string, status: number, options: { body: Json; type?: string }): string[] {
  const [method = "", path = ""] = request.split(" ");
  const headers = new Headers({ "content-type": options.type ?? "application/json" });
  return responseProblems({ method, path, requestBody: undefined, answer: { status, body: options.body, headers } });
}

Deno.test("findOperation() prefers literals to parameters and ignores the query", () => {
  const idOf = (method: string, path: string) => findOperation(method, path)?.id;
  assert.equal(idOf("GET", "/_matrix/client/v3/sync?since=a/b"), "sync");
  assert.equal(idOf("GET", "/_matrix/client/v3/pushrules/global/"), "getPushRulesGlobal");
  assert.equal(idOf("GET", "/_matrix/client/v3/rooms/%21a%2Fb/members"), "getMembersByRoom");
  assert.equal(idOf("GET", "/_matrix/client/v3/room_keys/version"), "getRoomKeysVersionCurrent");
  assert.equal(idOf("PATCH", "/_matrix/client/v3/sync"), undefined);
  assert.ok(OPERATIONS.length > 160);
});

Deno.test("responseProblems() finds what is missing, of a wrong type, and not described", () => {
  const whoami = "GET /_matrix/client/v3/account/whoami";
  assert.deepEqual(problems(whoami, 200, { body: { user_id: "@a:b" } }), []);
  assert.match(problems(whoami, 200, { body: {} }).join(), /"user_id" is missing/);
  assert.match(problems(whoami, 200, { body: { user_id: "a" } }).join(), /does not match/);
  assert.match(problems(whoami, 200, { body: { user_id: "@a:b", device_id: 1 } }).join(), /device_id: 1 is not string/);
  assert.match(problems(whoami, 201, { body: {} }).join(), /status 201 is not described/);
  assert.match(problems(whoami, 200, { body: "", type: "text/plain" }).join(), /content type/);
  assert.deepEqual(problems(whoami.replace("v3", "r0"), 200, { body: {} }).length, 1);
  assert.deepEqual(problems("GET /_matrix/client/unstable/x", 200, { body: 1 }), []);
});

Deno.test("responseProblems() wants every refusal to be a Matrix error", () => {
  const path = "GET /_matrix/client/unstable/x";
  assert.deepEqual(problems(path, 404, { body: { errcode: "M_UNRECOGNIZED", error: "Unrecognized request" } }), []);
  assert.deepEqual(problems(path, 404, { body: { errcode: "M_UNRECOGNIZED" } }), ["error is undefined"]);
  assert.deepEqual(problems(path, 404, { body: { errcode: "NO", error: "x" } }), ["errcode is NO"]);
  assert.deepEqual(problems(path, 502, { body: "Bad gateway", type: "text/html" }), ["the error is not a JSON object"]);
  const limited = { errcode: "M_LIMIT_EXCEEDED", error: "Too many requests" };
  assert.deepEqual(problems(path, 429, { body: limited }), ["retry_after_ms is missing"]);
  const uia = { flows: [{ stages: ["m.login.password"] }], params: {}, session: "s" };
  assert.deepEqual(problems(path, 401, { body: uia }), []);
  assert.deepEqual(problems(path, 401, { body: { ...uia, session: 1 } }), ["the UIA state is broken"]);
});

Deno.test("schemaProblems() knows the keywords that the data uses", () => {
  const number = { type: "integer" } as const;
  assert.deepEqual(schemaProblems({ type: ["string", "null"] }, null), []);
  assert.equal(schemaProblems(number, 1.5).length, 1);
  assert.equal(schemaProblems({ enum: ["a"] }, "b").length, 1);
  assert.equal(schemaProblems({ items: number }, [1, "2"]).length, 1);
  assert.equal(schemaProblems({ additionalProperties: number, properties: { a: {} } }, { a: "", b: "" }).length, 1);
  assert.equal(schemaProblems({ patternProperties: { "^@": number } }, { "@a": "" }).length, 1);
  assert.equal(schemaProblems({ patternProperties: { "^@": number } }, { a: 1 }).length, 1);
  assert.equal(schemaProblems({ allOf: [number, { enum: [2] }] }, 1).length, 1);
  assert.equal(schemaProblems({ anyOf: [number, { type: "null" }] }, "").length, 1);
  assert.equal(schemaProblems({ oneOf: [number, { type: "number" }] }, 1).length, 1);
  assert.equal(schemaProblems({ type: "object", minProperties: 1, maxProperties: 1 }, {}).length, 1);
  assert.equal(schemaProblems({ type: "string", maxLength: 1 }, "ab").length, 1);
  assert.equal(schemaProblems({ type: "string", format: "mx-user-id" }, "@a").length, 1);
});
