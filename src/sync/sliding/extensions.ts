/** The extensions of sliding sync, as text. */
import { formatSubscriptionToken } from "../../services/thread_subscriptions.ts";
import type { MembershipMoves } from "../../rooms/membership_moves.ts";
import { deviceLists } from "../device_parts.ts";
import type { ProfilesTold, RoomRecord } from "./connections.ts";
import { type ProfileExtensionDeps, readProfiles } from "./profile_extension.ts";
import { readAccountData, readReceipts, readTyping, type RoomExtensionDeps } from "./room_extensions.ts";
import { readStickyEvents, type StickyExtensionDeps } from "./sticky_extension.ts";
import type { RoomResult } from "./room_result.ts";
import type { WantedRoom } from "./types.ts";
import type { SlidingView } from "./view.ts";

/** What extensions are read from. */
export interface ExtensionDeps extends RoomExtensionDeps, StickyExtensionDeps, ProfileExtensionDeps {
  readonly moves: MembershipMoves;
}

/** The rooms of an attempt. */
export interface ShownRooms {
  readonly wanted: ReadonlyMap<number, WantedRoom>;
  /** Those of which something is told. */
  readonly results: ReadonlyMap<number, RoomResult>;
  /** What the client will have of each room that changes for it; extensions add to it. */
  readonly records: Map<number, RoomRecord>;
}

/** The extensions of a response. */
export interface ExtensionTexts {
  /** The members of `extensions`, with commas between them. */
  readonly text: string;
  /** Something in here is worth waking a client for. */
  readonly hasNews: boolean;
  readonly profiles: ProfilesTold;
}

/** One extension; null when there is nothing to say. */
interface Part {
  readonly name: string;
  readonly text: string;
  readonly isNews: boolean;
}

const DEFAULT_TO_DEVICE_LIMIT = 100;

/** Reads the extensions that the request enables. */
export async function readExtensions(
  deps: ExtensionDeps,
  { view, rooms }: { view: SlidingView; rooms: ShownRooms },
): Promise<ExtensionTexts> {
  const parts: Part[] = [];
  const add = (part: Part | null) => {
    if (part !== null) parts.push(part);
  };
  const named = (name: string, text: string | null): Part | null => text === null ? null : { name, text, isNews: true };
  add(await toDevice(deps, view));
  add(await e2ee(deps, view));
  add(named("account_data", await readAccountData(deps, { view, rooms })));
  add(named("receipts", await readReceipts(deps, { view, rooms })));
  add(named("typing", readTyping(deps, { view, rooms })));
  add(named("io.element.msc4308.thread_subscriptions", await threadSubscriptions(deps, view)));
  add(await readStickyEvents(deps, { view, rooms }));
  const profiles = await readProfiles(deps, { view, rooms });
  add(profiles.part);
  return {
    text: parts.map(({ name, text }) => `"${name}":${text}`).join(","),
    hasNews: parts.some(({ isNews }) => isNews),
    profiles: profiles.told,
  };
}

/** MSC3885: the messages after the extension's own token, which also says which ones have arrived. */
async function toDevice({ providers }: ExtensionDeps, { request, now }: SlidingView): Promise<Part | null> {
  const { extensions: { toDevice: asked }, requester: { userId, deviceId } } = request;
  if (asked === null) return null;
  const after = Math.min(asked.since ?? 0, now.to_device);
  const limit = Math.min(Math.max(asked.limit, 1), DEFAULT_TO_DEVICE_LIMIT);
  const found = deviceId === null || now.to_device <= after
    ? { events: [], upTo: now.to_device }
    : await providers.toDevice.messages({ userId, deviceId, after, upTo: now.to_device, limit });
  return {
    name: "to_device",
    text: `{"next_batch":"${found.upTo}","events":[${found.events.join(",")}]}`,
    isNews: found.events.length > 0,
  };
}

/** MSC3884. */
async function e2ee({ providers, moves }: ExtensionDeps, { request, since, now }: SlidingView): Promise<Part | null> {
  const { requester } = request;
  const { userId, deviceId } = requester;
  if (!request.extensions.e2ee || deviceId === null) return null;
  const { oneTime, fallback } = await providers.keyCounts.stock({ userId, deviceId });
  const lists = await deviceLists({ providers, moves }, { requester, since, now });
  const text = `{"device_one_time_keys_count":${JSON.stringify(oneTime)},` +
    `"device_unused_fallback_key_types":${JSON.stringify(fallback)}${lists === "" ? "" : `,"device_lists":${lists}`}}`;
  return { name: "e2ee", text, isNews: lists !== "" };
}

/** MSC4308. */
async function threadSubscriptions(
  { providers }: ExtensionDeps,
  { request, since, now }: SlidingView,
): Promise<string | null> {
  const { requester, extensions: { threadSubscriptions: asked } } = request;
  const after = since?.account_data ?? 0;
  if (asked === null || now.account_data <= after) return null;
  const range = { after, upTo: now.account_data, limit: asked.limit };
  const { subscribed, unsubscribed, goesOnBefore } = await providers.threadSubscriptions.changes(requester, range);
  const [hasStarted, hasEnded] = [Object.keys(subscribed).length > 0, Object.keys(unsubscribed).length > 0];
  if (!hasStarted && !hasEnded) return null;
  return JSON.stringify({
    ...(hasStarted ? { subscribed } : {}),
    ...(hasEnded ? { unsubscribed } : {}),
    ...(goesOnBefore === null ? {} : { prev_batch: formatSubscriptionToken(goesOnBefore) }),
  });
}
