/**
 * The tokens that clients hand back: the one place that builds and parses them. Clients must treat them as opaque; the
 * first characters name the kind and its version, so that a later format can be told from this one.
 *
 * - `s1_…` a position in every stream: `next_batch` and `since` of sync.
 * - `w1_C_S_…` a state of a sliding sync connection, with a position in every stream: `pos` of sliding sync.
 * - `p1_D_P` a place in a room, between events: pagination goes on from just before (`dir=f`) or after (`dir=b`) the
 *   event of depth D and position P.
 * - `e1_P` a place in a room by stream position alone.
 */
import { type StreamName, type StreamPositions, STREAMS } from "./notifier.ts";

/** A place in a room's history, always between two events. */
export type RoomToken =
  /** After every event whose position is at most this. */
  | { readonly kind: "stream"; readonly position: number }
  /** After the event with this depth and position. */
  | { readonly kind: "topological"; readonly depth: number; readonly position: number };

const MAX_TOKEN_LENGTH = 256;
const SYNC_PREFIX = "s1_";
const CONNECTION_KEY = /^[A-Za-z0-9]{1,32}$/;
const INTEGER = /^-?(0|[1-9][0-9]{0,15})$/;

function parseInteger(text: string | undefined): number | null {
  if (text === undefined || !INTEGER.test(text)) return null;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : null;
}

/** The tokens of snapshots, of which those who are woken together have the same. */
const syncTokens = new WeakMap<StreamPositions, string>();

/** Returns the sync token for these positions. */
export function formatSyncToken(positions: StreamPositions): string {
  let text = syncTokens.get(positions);
  if (text === undefined) {
    text = `s1_${STREAMS.map((stream) => positions[stream]).join("_")}`;
    syncTokens.set(positions, text);
  }
  return text;
}

/** Parses a sync token. Returns null for anything this server did not make. */
export function parseSyncToken(text: string): StreamPositions | null {
  if (text.length > MAX_TOKEN_LENGTH || !text.startsWith("s1_")) return null;
  const parts = text.split("_");
  if (parts.length !== STREAMS.length + 1) return null;
  const positions: Partial<Record<StreamName, number>> = {};
  for (const [index, stream] of STREAMS.entries()) {
    const value = parseInteger(parts[index + 1]);
    if (value === null || value < 0) return null;
    positions[stream] = value;
  }
  return positions as Record<StreamName, number>;
}

/** Returns the token for a place in a room. */
export function formatRoomToken(token: RoomToken): string {
  return token.kind === "stream" ? `e1_${token.position}` : `p1_${token.depth}_${token.position}`;
}

/** What the `pos` of a sliding sync holds. */
export interface SlidingPos {
  /** The connection's key: letters and digits. */
  readonly connection: string;
  /** Which of the connection's states it continues from. */
  readonly state: number;
  readonly streams: StreamPositions;
}

/** Returns the `pos` of a sliding sync. */
export function formatSlidingPos({ connection, state, streams }: SlidingPos): string {
  return `w1_${connection}_${state}_${formatSyncToken(streams).slice(SYNC_PREFIX.length)}`;
}

/** Parses the `pos` of a sliding sync. Null for anything this server did not make. */
export function parseSlidingPos(text: string): SlidingPos | null {
  if (text.length > MAX_TOKEN_LENGTH || !text.startsWith("w1_")) return null;
  const [, connection = "", stateText, ...rest] = text.split("_");
  const state = parseInteger(stateText);
  const streams = parseSyncToken(SYNC_PREFIX + rest.join("_"));
  if (!CONNECTION_KEY.test(connection) || state === null || state < 1) return null;
  return streams && { connection, state, streams };
}

/** Parses a token for a place in a room; a sync token is one by its events position. Null when it is none. */
export function parseRoomToken(text: string): RoomToken | null {
  if (text.length > MAX_TOKEN_LENGTH) return null;
  if (text.startsWith("s1_")) {
    const positions = parseSyncToken(text);
    return positions && { kind: "stream", position: positions.events };
  }
  if (text.startsWith("w1_")) {
    const pos = parseSlidingPos(text);
    return pos && { kind: "stream", position: pos.streams.events };
  }
  const [version, first, second, rest] = text.split("_");
  if (version === "e1" && second === undefined) {
    const position = parseInteger(first);
    return position === null ? null : { kind: "stream", position };
  }
  if (version === "p1" && rest === undefined) {
    const depth = parseInteger(first);
    const position = parseInteger(second);
    return depth === null || position === null ? null : { kind: "topological", depth, position };
  }
  return null;
}
