/** Media of our users, as other servers get them. */
import assert from "node:assert/strict";
import { Agent, request } from "node:https";
import { authorize } from "../../src/federation/x_matrix.ts";
import { TlsListener } from "../../src/http/tls_listener.ts";
import { getLogger } from "../../src/lib/log.ts";
import { SERVER_NAME, testEachServer } from "../harness/server.ts";
import { CA_PEM, makeCertificate } from "./certificates.ts";
import { enc, type Resident, startResident } from "./resident.ts";

const PNG = Uint8Array.fromBase64(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
);

async function download(resident: Resident, path: string): Promise<Response> {
  const uri = `/_matrix/federation/v1/media/${path}`;
  const request = { method: "GET", uri, destination: SERVER_NAME, bodyText: null };
  return await fetch(resident.base + uri, { headers: { authorization: authorize(request, resident.signer) } });
}

/** Splits an answer into its two parts, headers and bytes as Latin-1 text. */
async function partsOf(response: Response): Promise<{ head: string; body: string }[]> {
  const boundary = /^multipart\/mixed; boundary=([A-Za-z0-9]+)$/.exec(response.headers.get("content-type") ?? "")?.[1];
  const bytes = await response.bytes();
  const text = bytes.reduce((all, byte) => all + String.fromCharCode(byte), "");
  const pieces = text.split(`--${boundary}`);
  assert.deepEqual([pieces[0], pieces.at(-1)], ["", "--\r\n"]);
  return pieces.slice(1, -1).map((piece) => {
    const cut = piece.indexOf("\r\n\r\n");
    return { head: piece.slice(2, cut), body: piece.slice(cut + 4, -2) };
  });
}

testEachServer("a file comes as the second of two parts", async (database) => {
  await using resident = await startResident(database);
  const [alice] = await resident.hs.register("alice");
  const headers = { "content-type": "image/png" };
  const uploaded = await alice.ok("POST", "/_matrix/media/v3/upload?filename=dot.png", { body: PNG, headers });
  const mediaId = uploaded.content_uri.split("/").at(-1);
  const answer = await download(resident, `download/${mediaId}`);
  assert.equal(answer.status, 200);
  const [first, second] = await partsOf(answer);
  assert.deepEqual(first, { head: "Content-Type: application/json", body: "{}" });
  assert.equal(second?.head, 'Content-Type: image/png\r\nContent-Disposition: inline; filename="dot.png"');
  assert.deepEqual(Uint8Array.from(second?.body ?? "", (letter) => letter.charCodeAt(0)), PNG);

  const thumbnail = await download(resident, `thumbnail/${mediaId}?width=32&height=32&method=crop`);
  assert.equal(thumbnail.status, 200);
  assert.match((await partsOf(thumbnail))[1]?.head ?? "", /^Content-Type: image\//);
});

testEachServer("what is not there, not uploaded yet or not ours is not given", async (database) => {
  await using resident = await startResident(database);
  const [alice] = await resident.hs.register("alice");
  const refused = async (path: string) => {
    const answer = await download(resident, path);
    return [answer.status, (await answer.json()).errcode];
  };
  assert.deepEqual(await refused("download/nonsense"), [404, "M_NOT_FOUND"]);
  assert.deepEqual(await refused("download/nonsense?timeout_ms=x"), [400, "M_INVALID_PARAM"]);
  assert.deepEqual(await refused("thumbnail/nonsense"), [400, "M_MISSING_PARAM"]);
  const reserved = await alice.ok("POST", "/_matrix/media/v1/create", { body: {} });
  const mediaId = reserved.content_uri.split("/").at(-1);
  assert.deepEqual(await refused(`download/${mediaId}?timeout_ms=1`), [504, "M_NOT_YET_UPLOADED"]);
  const unsigned = await resident.fetch(`/_matrix/federation/v1/media/download/${enc("x")}`);
  assert.deepEqual([unsigned.status, unsigned.body.errcode], [401, "M_UNAUTHORIZED"]);
});

testEachServer("what is quarantined is not given", async (database) => {
  await using resident = await startResident(database);
  const [alice] = await resident.hs.register("alice");
  const admin = await resident.hs.registerAdmin("admin");
  const headers = { "content-type": "image/png" };
  const uploaded = await alice.ok("POST", "/_matrix/media/v3/upload", { body: PNG, headers });
  const mediaId = uploaded.content_uri.split("/").at(-1);
  const paths = [`download/${mediaId}`, `thumbnail/${mediaId}?width=32&height=32`];
  for (const path of paths) assert.equal((await partsOf(await download(resident, path))).length, 2);
  await admin.post(`/_synapse/admin/v1/media/quarantine/${SERVER_NAME}/${mediaId}`);
  for (const path of [...paths, `download/${mediaId}?admin_unsafely_bypass_quarantine=true`]) {
    const answer = await download(resident, path);
    assert.deepEqual([answer.status, (await answer.json()).errcode], [404, "M_NOT_FOUND"]);
  }
});

testEachServer("a connection with TLS goes on after a file", async (database) => {
  await using resident = await startResident(database);
  const [alice] = await resident.hs.register("alice");
  const uploaded = await alice.ok("POST", "/_matrix/media/v3/upload", { body: "hello" });
  const listener = await TlsListener.listen({
    ...{ handler: resident.handler, hostname: "127.0.0.1", port: 0, log: getLogger("test") },
    certificate: await makeCertificate("DNS:localhost"),
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: CA_PEM });
  const get = (path: string) => {
    const signed = { method: "GET", uri: path, destination: SERVER_NAME, bodyText: null };
    const headers = { authorization: authorize(signed, resident.signer) };
    const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
    const options = { host: "127.0.0.1", port: listener.port, servername: "localhost", path, agent, headers };
    request(options, (answer) => answer.resume().on("end", () => resolve(answer.statusCode))).on("error", reject).end();
    return promise;
  };
  const media = `/_matrix/federation/v1/media/download/${uploaded.content_uri.split("/").at(-1)}`;
  const profile = `/_matrix/federation/v1/query/profile?user_id=${enc(alice.userId)}`;
  const statuses = [await get(media), await get(profile), await get(media), await get(profile)];
  assert.deepEqual(statuses, [200, 200, 200, 200]);
  agent.destroy();
  await listener.stop(0);
});
