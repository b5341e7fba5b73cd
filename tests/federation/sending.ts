/** Events and transactions as another server makes and sends them. */
import assert from "node:assert/strict";
import { selectAuthKeys } from "../../src/protocol/auth_events.ts";
import { buildEvent } from "../../src/protocol/event_builder.ts";
import { pduJson } from "../../src/protocol/event_format.ts";
import type { RoomEvent } from "../../src/protocol/event.ts";
import type { EventId, RoomId, UserId } from "../../src/protocol/ids.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import type { Signer } from "../../src/protocol/signatures.ts";
import type { TestClient } from "../harness/client.ts";
import type { Resident } from "./resident.ts";

/** An event as a test wants it. */
export interface Draft {
  readonly content: JsonObject;
  readonly type?: string;
  readonly stateKey?: string;
  readonly sender?: string;
  readonly prev?: readonly EventId[];
  readonly depth?: number;
  readonly signer?: Signer;
}

/** Makes an event of the peer's user on the end of the room as the server has it. */
export async function make(
  { hs, signer }: Resident,
  { roomId, ...draft }: Draft & { roomId: string },
): Promise<RoomEvent> {
  const { engine, state } = hs.parts.rooms;
  const head = await engine.head(roomId as RoomId);
  assert(head !== null);
  const query = {
    type: draft.type ?? "m.room.message",
    sender: draft.sender ?? `@bob:${signer.serverName}`,
    stateKey: draft.stateKey ?? null,
    content: draft.content,
  };
  const auth = await state.getMany(head.stateRoot, selectAuthKeys(head.rules, query));
  return buildEvent({
    ...{ rules: head.rules, roomId: roomId as RoomId, ...query, sender: query.sender as UserId },
    depth: draft.depth ?? 1 + Math.max(...head.extremities.map(({ depth }) => depth)),
    prevEvents: draft.prev ?? head.extremities.map(({ eventId }) => eventId),
    authEvents: [...auth.values()].map(({ event }) => event.eventId),
    originServerTs: Date.now(),
    ...(draft.signer ?? signer),
  }).event;
}

/** Returns the event as it is sent. */
export function wire(event: RoomEvent): JsonObject {
  return JSON.parse(pduJson(event));
}

/** What a transaction holds. */
export interface Transaction {
  readonly pdus?: readonly JsonObject[];
  readonly edus?: readonly JsonObject[];
}

let txn = 0;
/** Sends a transaction as the peer and returns the results of its events. */
// deno-lint-ignore no-explicit-any -- answers are checked where they are used
export async function send(resident: Resident, { pdus = [], edus = [] }: Transaction): Promise<any> {
  const body = { origin: resident.signer.serverName, origin_server_ts: Date.now(), pdus: [...pdus], edus: [...edus] };
  const answer = await resident.ask(`/v1/send/txn${txn++}`, body);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body.pdus;
}

/** Makes a public room of alice's that the peer's bob is in. */
export async function openRoom(
  resident: Resident,
  options: Record<string, unknown> = {},
): Promise<{ roomId: string; alice: TestClient }> {
  const [alice] = await resident.hs.register("alice");
  const roomId = await alice.createRoom({ preset: "public_chat", room_version: "11", ...options });
  await resident.join(roomId);
  return { roomId, alice };
}
