/** Our server is killed while both servers talk: what was answered is not lost, and what is sent again is not doubled. */
import assert from "node:assert/strict";
import { path, type TestClient } from "../harness/client.ts";
import { openRoom, type SidedCheck, type Sides } from "./check.ts";
import { historyOf, until, untilHas, untilMember } from "./until.ts";

const MESSAGES = 200;
const KILLS_AT: readonly number[] = [40, 90, 140];
const PARALLEL = 5;

/** The checks. */
export const KILLS: Readonly<Record<string, SidedCheck>> = {
  "200 messages each way while our server is killed three times": talkThroughKills,
};

async function talkThroughKills(sides: Sides): Promise<void> {
  const { roomId, alice, bob } = await openRoom(sides);
  await untilMember(alice, { roomId, userId: bob.userId, membership: "join" });
  const ours = sides.host.kind === "ours" ? sides.host : sides.guest;
  const own = sides.host.kind === "ours" ? alice : bob;
  const sent = new Map<string, string>();
  let answered = 0;
  let kills = Promise.resolve();
  const killSometimes = () => {
    if (KILLS_AT.includes(++answered)) kills = kills.then(() => ours.kill()).then(() => ours.resume());
  };
  const talk = (user: TestClient) =>
    sendSurely(user, { roomId, sent, onAnswer: user === own ? killSometimes : () => {} });
  await Promise.all([alice, bob].map(talk));
  await kills;
  const eventIds = [...sent.values()];
  assert.equal(new Set(eventIds).size, 2 * MESSAGES);
  for (const user of [alice, bob]) {
    await untilHas(user, { roomId, eventIds });
    const messages = (await historyOf(user, roomId)).filter(({ type }) => type === "m.room.message");
    const bodies = messages.map(({ content }) => content.body).sort();
    assert.deepEqual(bodies, [...sent.keys()].sort(), "each message is there, once");
  }
}

/** Sends messages as a client does: the same request again until there is an answer. */
async function sendSurely(
  user: TestClient,
  { roomId, sent, onAnswer }: { roomId: string; sent: Map<string, string>; onAnswer: () => void },
): Promise<void> {
  let next = 0;
  const sendSome = async () => {
    while (next < MESSAGES) {
      const body = `message ${next++} of ${user.userId}`;
      const target = path`/rooms/${roomId}/send/m.room.message/${body}`;
      const send = () => user.ok("PUT", target, { body: { msgtype: "m.text", body } }).catch(unlessRefused);
      const { event_id: eventId } = await until(`an answer to ${body}`, send);
      sent.set(body, eventId);
      onAnswer();
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, sendSome));
}

/** A server that is down answers nothing; anything it says but success is a failure. */
function unlessRefused(error: unknown): null {
  if (error instanceof assert.AssertionError) throw error;
  return null;
}
