/** What `dist/synapse-ts` does by itself: commands, a conversation, thumbnails. */
import { deepEqual, equal, match, notEqual, ok } from "node:assert/strict";
import { WIDE_PNG } from "../fixtures/images.ts";
import { EXECUTABLE, newSite, PASSWORD, type Site } from "./site.ts";

const MAX_BYTES = 140_000_000;
const MAX_START_MS = 5_000;

/** Returns the texts of the room's messages, oldest first. */
async function messages(site: Site, { token, roomId }: { token: string; roomId: string }): Promise<string[]> {
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/messages?dir=f&limit=100`;
  const { chunk } = await site.call("GET", path, { token });
  return (chunk as { type: string; content: { body?: string } }[])
    .filter((event) => event.type === "m.room.message").map((event) => event.content.body ?? "");
}

async function send(
  site: Site,
  { token, roomId, text }: { token: string; roomId: string; text: string },
): Promise<string> {
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${encodeURIComponent(text)}`;
  const answer = await site.call("PUT", path, { token, body: { msgtype: "m.text", body: text } });
  return String(answer.event_id);
}

Deno.test("the executable is not larger than promised", async () => {
  const { size } = await Deno.stat(EXECUTABLE);
  ok(size <= MAX_BYTES, `${size} bytes`);
});

Deno.test("the executable says its version and its commands", async () => {
  await using site = await newSite();
  match((await site.run(["--version"])).stdout, /\d+\.\d+\.\d+/);
  const help = await site.run(["--help"]);
  equal(help.code, 0, help.stderr);
  for (const command of ["generate-config", "serve", "register-user", "hash-password"]) {
    ok(help.stdout.includes(command), `${command} is missing in:\n${help.stdout}`);
  }
});

Deno.test("the executable hashes a password", async () => {
  await using site = await newSite();
  await site.generateConfig();
  const { code, stdout, stderr } = await site.run(["hash-password", "-c", "homeserver.yaml", "-p", PASSWORD]);
  equal(code, 0, stderr);
  match(stdout.trim(), /^\$2[aby]\$12\$[./A-Za-z0-9]{53}$/);
});

Deno.test("the executable is the command by whose name it is linked", async () => {
  await using site = await newSite();
  await site.generateConfig();
  const link = site.path("hash_password");
  await Deno.symlink(EXECUTABLE, link);
  const { code, stdout, stderr } = await site.run(["-c", "homeserver.yaml", "-p", PASSWORD], link);
  equal(code, 0, stderr);
  match(stdout.trim(), /^\$2[aby]\$12\$/);
});

Deno.test("an unknown command fails with a sentence, not with a stack trace", async () => {
  await using site = await newSite();
  const { code, stdout, stderr } = await site.run(["no-such-command"]);
  notEqual(code, 0);
  match(stdout + stderr, /no-such-command/);
  ok(!/\n\s+at /.test(stdout + stderr), stdout + stderr);
});

Deno.test("a conversation survives a stop and a power failure", async () => {
  await using site = await newSite();
  const generated = await site.generateConfig();
  equal(generated.code, 0, generated.stderr);
  const startMs = await site.serve();
  ok(startMs < MAX_START_MS, `took ${startMs} ms to start`);

  for (const user of ["alice", "bob"]) {
    const flags = ["-c", "homeserver.yaml", "-u", user, "-p", PASSWORD, "--no-admin"];
    const { code, stdout, stderr } = await site.run(["register-user", ...flags, site.url]);
    equal(code, 0, stdout + stderr);
    match(stdout, /Success!/);
  }
  const alice = await site.login("alice");
  const bob = await site.login("bob");
  const room = { preset: "private_chat", invite: ["@bob:localhost"] };
  const roomId = String(
    (await site.call("POST", "/_matrix/client/v3/createRoom", { token: alice, body: room })).room_id,
  );
  await site.call("POST", `/_matrix/client/v3/join/${encodeURIComponent(roomId)}`, { token: bob, body: {} });
  const first = await site.call("GET", "/_matrix/client/v3/sync?timeout=0", { token: bob });
  const eventId = await send(site, { token: alice, roomId, text: "one" });

  const next = await site.call("GET", `/_matrix/client/v3/sync?timeout=10000&since=${first.next_batch}`, {
    token: bob,
  });
  const joined = (next.rooms as { join: Record<string, { timeline: { events: { event_id: string }[] } }> }).join;
  deepEqual(joined[roomId]?.timeline.events.map((event) => event.event_id), [eventId]);

  equal(await site.stop(), 0);
  await site.serve();
  await send(site, { token: bob, roomId, text: "two" });
  await site.kill();
  await site.serve();
  await send(site, { token: alice, roomId, text: "three" });
  deepEqual(await messages(site, { token: bob, roomId }), ["one", "two", "three"]);
  equal(await site.stop(), 0);
});

Deno.test("the executable makes thumbnails in a child of its own", async () => {
  await using site = await newSite();
  await site.generateConfig();
  await site.serve();
  const flags = ["-c", "homeserver.yaml", "-u", "alice", "-p", PASSWORD, "--no-admin"];
  equal((await site.run(["register-user", ...flags, site.url])).code, 0);
  const headers = { authorization: `Bearer ${await site.login("alice")}`, "content-type": "image/png" };
  const upload = await fetch(`${site.url}/_matrix/media/v3/upload`, { method: "POST", headers, body: WIDE_PNG });
  const { content_uri } = await upload.json();
  const path = `${String(content_uri).replace("mxc://", "")}?width=32&height=32&method=crop`;
  const response = await fetch(`${site.url}/_matrix/client/v1/media/thumbnail/${path}`, { headers });
  equal(response.status, 200);
  const view = new DataView(await response.arrayBuffer());
  deepEqual([view.getUint32(16), view.getUint32(20)], [32, 32]);
  equal(await site.stop(), 0);
});

Deno.test("generate-config writes private secrets and never overwrites", async () => {
  await using site = await newSite();
  await site.generateConfig();
  const config = await Deno.readTextFile(site.path("homeserver.yaml"));
  for (const option of ["registration_shared_secret", "macaroon_secret_key", "form_secret", "signing_key_path"]) {
    match(config, new RegExp(`^${option}: `, "m"));
  }
  const key = await Deno.stat(site.path("localhost.signing.key"));
  equal((key.mode ?? 0) & 0o027, 0, "the signing key can be read by others");
  await site.generateConfig();
  equal(await Deno.readTextFile(site.path("homeserver.yaml")), config);
});
