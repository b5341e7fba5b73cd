/** Options about what is sent to other servers: how fast receipts go out, and which servers have metrics. */
import assert from "node:assert/strict";
import type { EventId } from "../../src/protocol/ids.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import { path } from "../harness/client.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { CA_PATH } from "./certificates.ts";
import { testDns } from "./environment.ts";
import { Receiver } from "./receiver.ts";
import { startResident } from "./resident.ts";
import { make, openRoom, send, wire } from "./sending.ts";

const SERVERS = 10;
const WAIT_MS = 30_000;

/** Resolves once something holds. */
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + WAIT_MS;
  while (!await holds()) {
    assert(performance.now() < end, `${what}: not in time`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function hasReceipt({ taken }: Receiver, eventId: string): boolean {
  const edus = taken.flatMap(({ edus }) => edus).filter(({ edu_type: type }) => type === "m.receipt");
  return edus.some(({ content }) => JSON.stringify(content).includes(eventId));
}

testEachServer("big rooms hear of an old message being read one server after another", async (database) => {
  const clock = new FakeClock();
  const config = {
    ...{ federation_custom_ca_list: [CA_PATH], ip_range_blacklist: [], trusted_key_servers: [] },
    federation_rr_transactions_per_room_per_second: 1,
  };
  await using hs = await TestServer.start({ database, clock, dns: testDns(), config });
  await using stack = new AsyncDisposableStack();
  const [alice, carol] = await hs.register("alice", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await carol.join(roomId);
  const receivers: Receiver[] = [];
  for (let index = 0; index < SERVERS; index++) {
    const receiver = stack.use(await Receiver.start());
    await receiver.join(hs.base, roomId);
    receivers.push(receiver);
  }
  const count = (eventId: string) => receivers.filter((receiver) => hasReceipt(receiver, eventId)).length;
  const fresh = await alice.sendText(roomId, "fresh");
  await carol.post(path`/rooms/${roomId}/receipt/m.read/${fresh}`);
  await until("all hear of a message that just came", () => count(fresh) === SERVERS);

  const old = await alice.sendText(roomId, "old");
  await until("all have it", () => receivers.every(({ texts }) => texts.includes("old")));
  await until("nothing is being sent", () => hs.parts.exchange.sender.activeServers === 0);
  clock.advance(61_000);
  await carol.post(path`/rooms/${roomId}/receipt/m.read/${old}`);
  for (let servers = 1; servers <= 3; servers++) {
    await until(`${servers} have heard`, () => count(old) >= servers);
    assert.equal(count(old), servers, "the others wait for their turn");
    if (servers < 3) clock.advance(1_000);
  }
  await alice.sendText(roomId, "news");
  await until("what waits goes along with what is sent", () => count(old) === SERVERS);
  for (const { taken } of receivers) {
    const receipts = taken.flatMap(({ edus }) => edus).filter((edu) => JSON.stringify(edu).includes(old));
    assert.equal(receipts.length, 1, "nobody hears of it twice");
  }
});

testEachServer("servers of federation_metrics_domains have metrics of their own", async (database) => {
  await using resident = await startResident(database, (peer) => ({
    enable_metrics: true,
    federation_metrics_domains: [peer, "never.test"],
  }));
  const { hs, signer: { serverName } } = resident;
  const { roomId, alice } = await openRoom(resident);
  const metric = async (name: string, label: string) => {
    const { text } = await hs.parts.core.meters.metrics.render();
    const found = text.split("\n").filter((line) => line.startsWith(`${name}{`));
    assert(found.length <= 1, "no series for a server that nothing was exchanged with");
    const labels = `${label}="${serverName}",server_name="hs.test"`;
    return found[0]?.startsWith(`${name}{${labels}} `) ? Number(found[0].split(" ").at(-1)) : null;
  };
  const message = await make(resident, { roomId, content: { body: "received" } });
  await send(resident, { pdus: [wire(message)] });
  const received = await metric("synapse_federation_last_received_pdu_time", "origin_server_name");
  assert.equal(received, message.originServerTs / 1_000);
  const sent = await alice.sendText(roomId, "sent") as EventId;
  const stored = await hs.parts.rooms.events.getById(sent);
  const isCounted = async () => {
    const time = await metric("synapse_federation_last_sent_pdu_time", "destination_server_name");
    return time === (stored?.event.originServerTs ?? 0) / 1_000;
  };
  await until("the event is sent and counted", isCounted);
});

testEachServer("without the option no server has", async (database) => {
  await using resident = await startResident(database, { enable_metrics: true });
  const { roomId } = await openRoom(resident);
  const message = await make(resident, { roomId, content: { body: "received" } });
  const results: JsonObject = await send(resident, { pdus: [wire(message)] });
  assert.deepEqual(results, { [message.eventId]: {} });
  const { text } = await resident.hs.parts.core.meters.metrics.render();
  assert(!text.includes("last_received_pdu_time{"));
  assert(text.includes('synapse_federation_server_received_pdus_total{server_name="hs.test"} 1\n'));
});
