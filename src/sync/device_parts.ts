/** The parts of a sync that are not rooms: to-device messages, device lists, key counts, presence. */
import type { UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { MembershipMoves } from "../rooms/membership_moves.ts";
import type { KeyStock, SyncProviders } from "./providers.ts";
import type { StreamPositions } from "../streams/notifier.ts";
import type { SyncView } from "./types.ts";

/** What these parts are read from. */
export interface DevicePartsDeps {
  readonly providers: SyncProviders;
  readonly moves: MembershipMoves;
}

/** The parts as text. */
export interface DeviceParts {
  /** Members of the response, each with a comma before it. */
  readonly text: string;
  /** Something in here is worth waking a client for. */
  readonly hasNews: boolean;
  /** How far the to-device messages reach: the token goes no further in that stream. */
  readonly toDeviceUpTo: number;
}

const TO_DEVICE_LIMIT = 100;
/** Presence of more people than this is not shown when a user joins a room. */
const MAX_NEW_PRESENCE = 500;

/** Reads the parts. */
export async function readDeviceParts(deps: DevicePartsDeps, view: SyncView): Promise<DeviceParts> {
  const messages = await toDevice(deps, view);
  const lists = mayHaveLists(deps, view) ? await deviceLists(deps, view) : "";
  const presence = view.filter.presence.matchesNone ? [] : await presenceEvents(deps, view);
  let text = await keyCounts(deps, view);
  if (messages.events.length > 0) text += `,"to_device":{"events":[${messages.events.join(",")}]}`;
  if (lists !== "") text += `,"device_lists":${lists}`;
  if (presence.length > 0) text += `,"presence":{"events":${JSON.stringify(presence)}}`;
  return {
    text,
    hasNews: messages.events.length > 0 || lists !== "" || presence.length > 0,
    toDeviceUpTo: messages.upTo,
  };
}

async function toDevice(
  { providers }: DevicePartsDeps,
  { requester: { userId, deviceId }, since, now }: SyncView,
): Promise<{ events: readonly string[]; upTo: number }> {
  const after = since?.to_device ?? 0;
  if (deviceId === null || now.to_device <= after) return { events: [], upTo: now.to_device };
  return await providers.toDevice.messages({ userId, deviceId, after, upTo: now.to_device, limit: TO_DEVICE_LIMIT });
}

async function keyCounts(
  { providers: { keyCounts } }: DevicePartsDeps,
  { requester: { userId, deviceId } }: SyncView,
): Promise<string> {
  if (deviceId === null) return "";
  const found = keyCounts.stock({ userId, deviceId });
  const stock = found instanceof Promise ? await found : found;
  let text = stockTexts.get(stock);
  if (text === undefined) {
    const types = JSON.stringify(stock.fallback);
    text = `,"device_one_time_keys_count":${JSON.stringify(stock.oneTime)},` +
      `"device_unused_fallback_key_types":${types},"org.matrix.msc2732.device_unused_fallback_key_types":${types}`;
    stockTexts.set(stock, text);
  }
  return text;
}

/** What is told of stocks, which are told with every sync and seldom change. */
const stockTexts = new WeakMap<KeyStock, string>();

function hasNoMoves(
  moves: MembershipMoves,
  { userId, since, now }: { userId: UserId; since: StreamPositions; now: StreamPositions },
): boolean {
  return now.events <= since.events || moves.hasNone({ userId, after: since.events, upTo: now.events });
}

function mayHaveLists(
  { moves }: Pick<DevicePartsDeps, "moves">,
  { requester: { userId }, since, now }: Pick<SyncView, "requester" | "since" | "now">,
): boolean {
  return since !== null && (now.device_lists > since.device_lists || !hasNoMoves(moves, { userId, since, now }));
}

/** Returns whose devices changed since the last sync, as text; empty when nobody's did. */
export async function deviceLists(
  { providers, moves }: DevicePartsDeps,
  { requester: { userId, deviceId }, since, now }: Pick<SyncView, "requester" | "since" | "now">,
): Promise<string> {
  if (since === null || !mayHaveLists({ moves }, { requester: { userId, deviceId }, since, now })) return "";
  const { changed, left } = await providers.deviceLists.changes(userId, {
    deviceLists: { after: since.device_lists, upTo: now.device_lists },
    events: { after: since.events, upTo: now.events },
  });
  return changed.length + left.length === 0 ? "" : JSON.stringify({ changed, left });
}

async function presenceEvents({ providers, moves }: DevicePartsDeps, view: SyncView): Promise<readonly JsonObject[]> {
  const { requester: { userId }, since, now, filter: { presence: filter } } = view;
  const after = since?.presence ?? 0;
  const events = since === null || now.presence > after
    ? [...await providers.presence.between({ viewer: userId, after, upTo: now.presence })]
    : [];
  if (since !== null && !hasNoMoves(moves, { userId, since, now })) {
    const { joined, found } = await moves.between({ userId, after: since.events, upTo: now.events });
    const told = new Set(events.map(({ sender }) => sender));
    const users: UserId[] = [...joined, ...found].filter((user) => !told.has(user)).slice(0, MAX_NEW_PRESENCE);
    if (users.length > 0) events.push(...await providers.presence.of({ viewer: userId, users }));
  }
  if (filter.matchesAll) return events;
  return events.filter(({ sender }) => filter.matches({ type: "m.presence", sender: String(sender), content: {} }));
}
