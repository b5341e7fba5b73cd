/**
 * Administrators who ask for it are shown soft-failed events: account data `io.element.synapse.admin_client_config`.
 * https://element-hq.github.io/synapse/latest/admin_api/client_server_api_extensions.html
 */
import assert from "node:assert/strict";
import type { EventId, RoomId } from "../../src/protocol/ids.ts";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer } from "../harness/server.ts";
import { startResident } from "./resident.ts";
import { make, openRoom, send, wire } from "./sending.ts";

const TYPE = "io.element.synapse.admin_client_config";
const MARK = "io.element.synapse.soft_failed";

/** Tells of each message of the room by its text, those that are marked as soft-failed with an exclamation mark. */
function bodiesOf(events: readonly Json[]): string[] {
  return events.flatMap(({ content, unsigned }: Json) => {
    if (typeof content.body !== "string") return [];
    return `${content.body}${unsigned?.[MARK] === true ? "!" : ""}`;
  });
}

async function pageOf(client: TestClient, roomId: string): Promise<string[]> {
  return bodiesOf((await client.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 100 })).chunk).reverse();
}

async function syncedBy(client: TestClient, roomId: string): Promise<string[]> {
  return bodiesOf((await client.ok("GET", "/sync")).rooms.join[roomId].timeline.events);
}

async function slidBy(client: TestClient, roomId: string): Promise<string[]> {
  const list = { ranges: [[0, 9]], timeline_limit: 20, required_state: [] };
  const body = { lists: { all: list } };
  const answer = await client.ok("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", { body });
  return bodiesOf(answer.rooms[roomId].timeline);
}

async function everywhere(client: TestClient, roomId: string): Promise<string[][]> {
  return [await pageOf(client, roomId), await syncedBy(client, roomId), await slidBy(client, roomId)];
}

function configOf({ userId }: TestClient): string {
  return path`/user/${userId}/account_data/${TYPE}`;
}

testEachServer("administrators who ask for soft-failed events are shown them, nobody else is", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const admin = await resident.hs.registerAdmin("root");
  await admin.join(roomId);
  const before = (await resident.hs.parts.rooms.engine.head(roomId as RoomId))?.extremities ?? [];
  const prev = before.map(({ eventId }) => eventId);
  const spam = await make(resident, { roomId, content: { body: "spam" }, prev, depth: 50 });
  await alice.post(path`/rooms/${roomId}/ban`, { user_id: `@bob:${resident.signer.serverName}` });
  await send(resident, { pdus: [wire(spam)] });
  await alice.sendText(roomId, "after");
  const one = path`/rooms/${roomId}/event/${spam.eventId as EventId}`;
  const around = path`/rooms/${roomId}/context/${spam.eventId as EventId}`;

  const hidden = [["after"], ["after"], ["after"]];
  const shown = [["spam!", "after"], ["spam!", "after"], ["spam!", "after"]];
  const sorted = async (client: TestClient) => (await everywhere(client, roomId)).map((list) => list.sort().reverse());
  assert.deepEqual(await sorted(admin), hidden);
  // Anybody may keep such account data; it means nothing without the right.
  for (const client of [admin, alice]) await client.put(configOf(client), { return_soft_failed_events: true });
  assert.deepEqual(await sorted(admin), shown);
  assert.deepEqual(await sorted(alice), hidden);
  assert.equal((await admin.get(one)).unsigned[MARK], true);
  assert.equal((await admin.get(around)).event.unsigned[MARK], true);
  for (const target of [one, around]) await alice.fails("GET", target, { status: 404, errcode: "M_NOT_FOUND" });

  // It is still known after a restart.
  await resident.hs.restart();
  assert.deepEqual(await sorted(resident.hs.again(admin)), shown);
  const again = resident.hs.again(admin);
  await again.put(configOf(again), { return_soft_failed_events: "yes" });
  assert.deepEqual(await sorted(again), hidden);
  await again.fails("GET", one, { status: 404, errcode: "M_NOT_FOUND" });
});
