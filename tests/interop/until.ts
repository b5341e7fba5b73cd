/** Waiting for what one server tells the other. */
import assert from "node:assert/strict";
import type { Json, TestClient } from "../harness/client.ts";
import { path } from "../harness/client.ts";
import type { SharedRoom } from "./check.ts";

/** Nothing waits that long when it works, but two servers and their clients may share a slow machine. */
const WAIT_MS = 120_000;
const PAUSE_MS = 100;
let lastWords = 0;

/** Asks again and again until the answer is something; fails with `what` when that takes too long. */
export async function until<T>(what: string, ask: () => Promise<T | null | undefined | false>): Promise<T> {
  const end = performance.now() + WAIT_MS;
  for (;;) {
    const found = await ask();
    if (found !== null && found !== undefined && found !== false) return found;
    if (performance.now() > end) assert.fail(`Waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** Resolves once the user's server shows that membership of a user; returns the member event's content. */
export async function untilMember(
  user: TestClient,
  { roomId, userId, membership }: { roomId: string; userId: string; membership: string },
): Promise<Json> {
  return await until(`${userId} to be "${membership}" at ${user.userId}`, async () => {
    const { status, body } = await user.request("GET", path`/rooms/${roomId}/state/m.room.member/${userId}`);
    return status === 200 && body.membership === membership ? body : null;
  });
}

/** Resolves once the user's server shows the event. */
export async function untilEvent(
  user: TestClient,
  { roomId, eventId }: { roomId: string; eventId: string },
): Promise<Json> {
  return await until(`${eventId} at ${user.userId}`, async () => {
    const { status, body } = await user.request("GET", path`/rooms/${roomId}/event/${eventId}`);
    return status === 200 ? body : null;
  });
}

/** The state of a room as the user's server lists it, as event ids by type and key. */
export async function stateOf(user: TestClient, roomId: string): Promise<Map<string, string>> {
  const events: Json[] = await user.get(path`/rooms/${roomId}/state`);
  return new Map(events.map((event) => [`${event.type}|${event.state_key}`, event.event_id]));
}

/**
 * Resolves once both list the same event for each key; fails with the difference.
 *
 * Both say something first: a server that got an event too late for its present soft-fails it, and takes it in once another
 * builds on it. Spec: server-server API, "Soft failure".
 */
export async function untilSameState({ roomId, users: [one, two] }: SharedRoom): Promise<void> {
  for (const user of [one, two]) {
    const eventId = await sendLast(user, roomId);
    if (eventId === null) continue;
    for (const other of [one, two]) await untilEvent(other, { roomId, eventId });
  }
  let difference: unknown = null;
  const isSame = async () => {
    const [left, right] = [await stateOf(one, roomId), await stateOf(two, roomId)];
    const keys = [...new Set([...left.keys(), ...right.keys()])].filter((key) => left.get(key) !== right.get(key));
    difference = keys.map((key) => ({ key, [one.userId]: left.get(key), [two.userId]: right.get(key) }));
    return keys.length === 0;
  };
  try {
    await until("the same state", isSame);
  } catch {
    assert.fail(`The servers differ about ${roomId}: ${JSON.stringify(difference)}`);
  }
}

/** Sends what only marks the end; null where the user may not. */
async function sendLast(user: TestClient, roomId: string): Promise<string | null> {
  const target = path`/rooms/${roomId}/send/org.example.last/${`last${++lastWords}`}`;
  const { status, body } = await user.request("PUT", target, { body: {} });
  return status === 200 ? body.event_id : null;
}

/** Reads the ids of all events of a room, from the newest on, going back as far as the server can. */
export async function historyOf(user: TestClient, roomId: string): Promise<Json[]> {
  const events: Json[] = [];
  let from: string | null = null;
  for (;;) {
    const query: Record<string, string | number> = { dir: "b", limit: 100, ...(from === null ? {} : { from }) };
    const page: Json = await user.get(path`/rooms/${roomId}/messages`, query);
    events.push(...page.chunk);
    if (page.end === undefined) return events;
    from = page.end;
  }
}

const PARALLEL = 10;

/** Sends so many messages, some at once, and returns their ids. */
export async function sendMany(
  user: TestClient,
  { roomId, count }: { roomId: string; count: number },
): Promise<string[]> {
  const eventIds: string[] = [];
  let next = 0;
  const sendSome = async () => {
    while (next < count) eventIds.push(await user.sendText(roomId, `message ${next++}`));
  };
  await Promise.all(Array.from({ length: PARALLEL }, sendSome));
  return eventIds;
}

/** Resolves once the history of a room, as the user's server gives it, has all these events. */
export async function untilHas(
  user: TestClient,
  { roomId, eventIds }: { roomId: string; eventIds: readonly string[] },
): Promise<void> {
  await until(`${eventIds.length} events in the history of ${user.userId}`, async () => {
    const found = new Set((await historyOf(user, roomId)).map(({ event_id: id }) => id));
    return eventIds.every((id) => found.has(id));
  });
}
