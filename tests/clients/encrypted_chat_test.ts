/** Two people with real clients in an encrypted room, and a server that is killed while they talk. */
import assert from "node:assert/strict";
import { ConnectionError, EventStatus, type ISendEventResponse, type MatrixEvent, type Room } from "matrix-js-sdk";
import { PNG } from "../fixtures/images.ts";
import { DIALECTS } from "../harness/databases.ts";
import { decryptFile, encryptFile } from "./attachment.ts";
import { enterEncryptedRoom, SdkUser } from "./sdk_client.ts";
import { ServerProcess } from "./server_process.ts";
import { verifyEachOther } from "./verification.ts";

const MESSAGES = 50;

for (const dialect of DIALECTS) {
  Deno.test({
    name: `two matrix-js-sdk clients chat encrypted across a SIGKILL of the server [${dialect}]`,
    // The cryptography keeps timers of its own.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await using server = await ServerProcess.start(dialect);
      await using alice = await SdkUser.register(server.base, "alice");
      await using bob = await SdkUser.register(server.base, "bob");
      await chat(server, { alice, bob });
    },
  });
}

async function chat(server: ServerProcess, { alice, bob }: { alice: SdkUser; bob: SdkUser }): Promise<void> {
  const users = [alice, bob];
  const roomId = await enterEncryptedRoom(alice, bob);
  const sas = await verifyEachOther({ alice, bob, roomId });
  assert.equal(sas.emoji?.length, 7);
  for (const [user, other] of [[alice, bob], [bob, alice]] as const) {
    const isTrusted = async () => (await user.crypto.getUserVerificationStatus(other.id)).isCrossSigningVerified();
    await user.until(`the trust in ${other.id}`, isTrusted);
  }

  const sent: string[] = [];
  await talk(users, { roomId, from: 0, to: MESSAGES / 2, sent });
  const image = await sendImage(alice, roomId);
  const hello = await say(bob, { roomId, body: "helo" });
  const secret = await say(alice, { roomId, body: "forget this" });
  sent.push("helo", "forget this");
  for (const user of users) await user.until("the first half", () => hasAll(user.texts(roomId), sent));

  await killWhileTalking(server, { users, roomId, sent });

  await talk(users, { roomId, from: MESSAGES / 2, to: MESSAGES, sent });
  await bob.client.sendEvent(roomId, "m.reaction" as never, annotation(secret, "👍") as never);
  await bob.client.sendEvent(roomId, "m.room.message" as never, edit(hello, "hello") as never);
  for (const user of users) {
    await user.until("the edit", () => event(user, { roomId, eventId: hello })?.getContent().body === "hello");
    await user.until("the reaction", () => reactionsTo(user, { roomId, eventId: secret }).includes("👍"));
  }
  await alice.client.redactEvent(roomId, secret);
  await bob.until("the redaction", () => event(bob, { roomId, eventId: secret })?.isRedacted());
  assert.deepEqual(await receiveImage(bob, { roomId, eventId: image }), PNG);
  await assertNothingMissing(users, { roomId, sent: sent.filter((body) => body !== "forget this") });
}

async function say(user: SdkUser, { roomId, body }: { roomId: string; body: string }): Promise<string> {
  return (await user.client.sendTextMessage(roomId, body)).event_id;
}

/** Everybody says something in turn, until each has said so much. */
async function talk(
  users: readonly SdkUser[],
  { roomId, from, to, sent }: { roomId: string; from: number; to: number; sent: string[] },
): Promise<void> {
  for (let count = from; count < to; count++) {
    for (const user of users) {
      const body = `message ${count} of ${user.id}`;
      sent.push(body);
      await say(user, { roomId, body }).catch((error) => assert.ok(error instanceof ConnectionError, error));
      await user.until("the message to be sent", () => resendAll(user, user.room(roomId)));
    }
  }
  for (const user of users) await user.until("all messages", () => hasAll(user.texts(roomId), sent));
}

/** Kills the server while messages are on their way; what was not acknowledged is sent again, as an app would. */
async function killWhileTalking(
  server: ServerProcess,
  { users, roomId, sent }: { users: readonly SdkUser[]; roomId: string; sent: string[] },
): Promise<void> {
  const attempts: Promise<ISendEventResponse>[] = [];
  for (const user of users) {
    for (let count = 0; count < 10; count++) {
      const body = `message in the storm ${count} of ${user.id}`;
      attempts.push(user.client.sendTextMessage(roomId, body));
      sent.push(body);
    }
  }
  await Promise.any(attempts);
  await server.kill();
  const outcomes = await Promise.allSettled(attempts);
  assert.ok(outcomes.some(({ status }) => status === "rejected"), "The server was killed in time");
  await server.restart();
  for (const user of users) {
    user.client.retryImmediately();
    await user.until("everything to be sent", () => resendAll(user, user.room(roomId)));
  }
  for (const user of users) await user.until("the storm to pass", () => hasAll(user.texts(roomId), sent));
}

/** Sends what is waiting; true when nothing waits any more. Connections from before the kill may fail once more. */
async function resendAll(user: SdkUser, room: Room): Promise<boolean> {
  for (const unsent of [...room.getPendingEvents()]) {
    if (unsent.status !== EventStatus.NOT_SENT) continue;
    await user.client.resendEvent(unsent, room).catch((error) => assert.ok(error instanceof ConnectionError, error));
  }
  return room.getPendingEvents().length === 0;
}

async function sendImage(user: SdkUser, roomId: string): Promise<string> {
  const { cipher, secrets } = await encryptFile(PNG);
  const { content_uri: url } = await user.client.uploadContent(new Blob([cipher]), {
    type: "application/octet-stream",
  });
  const content = { msgtype: "m.image", body: "image.png", info: { size: PNG.length }, file: { ...secrets, url } };
  return (await user.client.sendMessage(roomId, content as never)).event_id;
}

async function receiveImage(
  user: SdkUser,
  { roomId, eventId }: EventRef,
): Promise<Uint8Array> {
  const { file } = (await user.until("the image", () => {
    const found = event(user, { roomId, eventId });
    return found?.isEncrypted() && found.getContent().msgtype === "m.image" && found;
  })).getContent();
  const url = user.client.mxcUrlToHttp(file.url, undefined, undefined, undefined, false, true, true);
  const response = await fetch(url ?? "", { headers: { authorization: `Bearer ${user.client.getAccessToken()}` } });
  assert.equal(response.status, 200);
  return await decryptFile(await response.bytes(), file);
}

interface EventRef {
  readonly roomId: string;
  readonly eventId: string;
}

function event(user: SdkUser, { roomId, eventId }: EventRef): MatrixEvent | undefined {
  return user.events(roomId).find((event) => event.getId() === eventId);
}

function annotation(eventId: string, key: string): unknown {
  return { "m.relates_to": { rel_type: "m.annotation", event_id: eventId, key } };
}

function edit(eventId: string, body: string): unknown {
  return {
    msgtype: "m.text",
    body: `* ${body}`,
    "m.new_content": { msgtype: "m.text", body },
    "m.relates_to": { rel_type: "m.replace", event_id: eventId },
  };
}

function reactionsTo(user: SdkUser, { roomId, eventId }: EventRef): string[] {
  const relations = user.room(roomId).relations.getChildEventsForEvent(eventId, "m.annotation", "m.reaction");
  return (relations?.getSortedAnnotationsByKey() ?? []).map(([key]) => key);
}

function hasAll(texts: readonly string[], wanted: readonly string[]): boolean {
  const found = new Set(texts);
  return wanted.every((text) => found.has(text));
}

/** Both clients have every message once, decrypted, in the same order, which is also the server's. */
async function assertNothingMissing(
  users: readonly SdkUser[],
  { roomId, sent }: { roomId: string; sent: readonly string[] },
): Promise<void> {
  const orders: string[][] = [];
  for (const user of users) {
    const texts = user.texts(roomId).filter((text) => text.startsWith("message "));
    assert.deepEqual([...texts].sort(), sent.filter((text) => text.startsWith("message ")).sort(), user.id);
    for (const event of user.events(roomId)) {
      assert.ok(!event.isDecryptionFailure(), `${user.id} cannot read ${event.getId()}`);
      assert.notEqual(event.status, EventStatus.NOT_SENT);
    }
    orders.push(
      user.events(roomId).filter((event) => event.getType() === "m.room.message").map((e) => String(e.getId())),
    );
  }
  assert.deepEqual(orders[0], orders[1]);
  const chunk: { event_id: string; type: string }[] = [];
  const [user] = users;
  assert.ok(user !== undefined);
  let from: string | null = null;
  do {
    const page = await user.client.createMessagesRequest(roomId, from, 100, "f" as never);
    chunk.push(...page.chunk as { event_id: string; type: string }[]);
    from = page.end ?? null;
  } while (from !== null);
  const onServer = chunk.map(({ event_id }) => event_id);
  const wanted = new Set(orders[0]);
  assert.deepEqual(onServer.filter((eventId) => wanted.has(eventId)), orders[0]);
}
