import assert from "node:assert/strict";
import type { Answer, Json } from "../harness/client.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const TAGGED = "/_matrix/client/unstable/org.matrix.msc4108/rendezvous";
const TOKENED = "/_matrix/client/unstable/io.element.msc4388/rendezvous";
const TEXT = { "content-type": "text/plain" };
const CONFIG = { public_baseurl: "https://hs.test/" };

function features(experimental_features: Json): Json {
  return { ...CONFIG, experimental_features };
}

async function createTagged(hs: TestServer, body = "hello"): Promise<{ target: string; tag: string }> {
  const answer = await hs.anyone.request("POST", TAGGED, { body, headers: TEXT });
  assert.equal(answer.status, 201);
  assert.match(answer.body.url, /^https:\/\/hs\.test\/_synapse\/client\/rendezvous\/\w+$/);
  return { target: new URL(answer.body.url).pathname, tag: tagOf(answer) };
}

function tagOf({ headers }: Answer): string {
  const tag = headers.get("etag") ?? "";
  assert.match(tag, /^"\w+"$/);
  return tag;
}

testEachServer("MSC4108: two devices write to a session in turns", async (database) => {
  const clock = new FakeClock();
  await using hs = await TestServer.start({ database, clock, config: features({ msc4108_enabled: true }) });
  const { target, tag } = await createTagged(hs);
  const first = await hs.anyone.request("GET", target);
  assert.deepEqual([first.status, first.body, tagOf(first)], [200, "hello", tag]);
  assert.equal(first.headers.get("content-type"), "text/plain");
  assert.equal(first.headers.get("cache-control"), "no-store");
  assert.equal(first.headers.get("expires"), new Date(clock.now() + 60_000).toUTCString());
  assert.match(first.headers.get("access-control-expose-headers") ?? "", /\bETag\b/);
  const same = await hs.anyone.request("GET", target, { headers: { "if-none-match": tag } });
  assert.deepEqual([same.status, same.body, tagOf(same)], [304, "", tag]);
  const write = { body: "hello", headers: { ...TEXT, "if-match": tag } };
  const written = await hs.anyone.request("PUT", target, write);
  assert.equal(written.status, 202);
  assert.notEqual(tagOf(written), tag, "the same data is another write");
  const late = await hs.anyone.request("PUT", target, write);
  assert.deepEqual(
    [late.status, late.body["org.matrix.msc4108.errcode"], tagOf(late)],
    [412, "M_CONCURRENT_WRITE", tagOf(written)],
  );
  assert.equal((await hs.anyone.request("DELETE", target)).status, 204);
  await hs.anyone.fails("GET", target, { status: 404, errcode: "M_NOT_FOUND" });
});

testEachServer("MSC4108: sessions are bounded in size, number and time", async (database) => {
  const clock = new FakeClock();
  await using hs = await TestServer.start({ database, clock, config: features({ msc4108_enabled: true }) });
  const { anyone } = hs;
  await anyone.fails("POST", TAGGED, { body: "x".repeat(4_097), headers: TEXT, status: 413, errcode: "M_TOO_LARGE" });
  await anyone.fails("POST", TAGGED, { body: {}, status: 400, errcode: "M_INVALID_PARAM" });
  const { target, tag } = await createTagged(hs, "x".repeat(4_096));
  const put = (headers: Record<string, string>, body = "x") =>
    anyone.request("PUT", target, { body, headers: { ...TEXT, ...headers } });
  for (const match of [tag.slice(1, -1), "*", `W/${tag}`, `${tag}, "b"`]) {
    assert.equal((await put({ "if-match": match })).body.errcode, "M_INVALID_PARAM", match);
  }
  assert.equal((await put({})).body.errcode, "M_MISSING_PARAM");
  assert.equal((await put({ "if-match": tag }, "x".repeat(4_097))).body.errcode, "M_TOO_LARGE");
  assert.equal(tagOf(await anyone.request("GET", target)), tag, "what was refused changed nothing");
  for (let count = 0; count < 99; count++) await createTagged(hs);
  assert.equal((await anyone.request("GET", target)).status, 200);
  const last = await createTagged(hs);
  assert.equal((await anyone.request("GET", target)).status, 404, "the oldest session made room");
  clock.advance(59_999);
  assert.equal((await anyone.request("GET", last.target)).status, 200);
  clock.advance(1);
  assert.equal((await anyone.request("GET", last.target)).status, 404);
});

testEachServer("rendezvous sessions are offered as the configuration says", async (database) => {
  await using hs = await TestServer.start({ database, config: CONFIG });
  const post = { body: { data: "x" }, status: 404, errcode: "M_UNRECOGNIZED" };
  for (const target of [TAGGED, TOKENED]) await hs.anyone.fails("POST", target, post);
  const flags = async () => (await hs.anyone.get("/_matrix/client/versions")).unstable_features;
  assert.deepEqual([(await flags())["org.matrix.msc4108"], (await flags())["io.element.msc4388"]], [false, false]);
  const delegation = "https://rendezvous.example/session";
  await hs.restart(features({ msc4108_delegation_endpoint: delegation, msc4388_mode: "authenticated" }));
  assert.deepEqual([(await flags())["org.matrix.msc4108"], (await flags())["io.element.msc4388"]], [true, true]);
  const sent = await hs.anyone.request("POST", TAGGED, { body: "hello", headers: TEXT });
  assert.deepEqual([sent.status, sent.headers.get("location")], [307, delegation]);
  const missing = { status: 401, errcode: "M_MISSING_TOKEN" };
  await hs.anyone.fails("GET", TOKENED, missing);
  await hs.anyone.fails("POST", TOKENED, { ...missing, body: { data: "x" } });
  const [alice] = await hs.register("alice");
  assert.deepEqual(await alice.get(TOKENED), { create_available: true });
  const { id } = await alice.post(TOKENED, { data: "x" });
  assert.equal((await hs.anyone.get(`${TOKENED}/${id}`)).data, "x");
});

testEachServer("browsers may write sessions by their tag", async (database) => {
  await using hs = await TestServer.start({ database, config: features({ msc4108_enabled: true }) });
  const allowed = async (target: string) => {
    const answer = await hs.anyone.request("OPTIONS", target);
    assert.equal(answer.status, 204);
    return answer.headers.get("access-control-allow-headers") ?? "";
  };
  for (const target of [TAGGED, "/_synapse/client/rendezvous/x"]) {
    assert.match(await allowed(target), /Content-Type.*If-Match, If-None-Match/);
  }
  assert.doesNotMatch(await allowed("/sync"), /If-Match/);
});

testEachServer("MSC4388: sessions are written by their token, and a repeated write is none", async (database) => {
  const clock = new FakeClock();
  await using hs = await TestServer.start({ database, clock, config: features({ msc4388_mode: "open" }) });
  const { anyone } = hs;
  assert.deepEqual(await anyone.get(TOKENED), { create_available: true });
  const { id, sequence_token: one, expires_in_ms: expiresIn } = await anyone.post(TOKENED, { data: "a" });
  assert.equal(expiresIn, 120_000);
  const target = `${TOKENED}/${id}`;
  clock.advance(1_000);
  assert.deepEqual(await anyone.get(target), { data: "a", sequence_token: one, expires_in_ms: 119_000 });
  const { sequence_token: two } = await anyone.put(target, { sequence_token: one, data: "b" });
  assert.notEqual(two, one);
  assert.deepEqual(await anyone.put(target, { sequence_token: one, data: "b" }), { sequence_token: two });
  const errcode = "IO_ELEMENT_MSC4388_CONCURRENT_WRITE";
  await anyone.fails("PUT", target, { body: { sequence_token: one, data: "c" }, status: 409, errcode });
  assert.equal((await anyone.get(target)).data, "b");
  const large = "é".repeat(2_049);
  await anyone.fails("POST", TOKENED, { body: { data: large }, status: 413, errcode: "M_TOO_LARGE" });
  await anyone.fails("POST", TOKENED, { body: { data: 1 }, status: 400, errcode: "M_BAD_JSON" });
  await anyone.fails("PUT", target, { body: { data: "c" }, status: 400, errcode: "M_MISSING_PARAM" });
  const headers = { "sec-fetch-mode": "navigate" };
  await anyone.fails("GET", target, { headers, status: 403, errcode: "M_FORBIDDEN" });
  await anyone.delete(target);
  await anyone.fails("DELETE", target, { status: 404, errcode: "M_NOT_FOUND" });
  const another = `${TOKENED}/${(await anyone.post(TOKENED, { data: "a" })).id}`;
  clock.advance(120_000);
  await anyone.fails("GET", another, { status: 404, errcode: "M_NOT_FOUND" });
});
