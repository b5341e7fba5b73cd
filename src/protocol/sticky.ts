/** Sticky events (MSC4354): events that clients are shown until they expire, wherever the timeline has got to. */
import { isJsonObject, type JsonObject } from "./json.ts";

/** The longest that an event can be sticky, in milliseconds. */
export const MAX_STICKY_MS = 3_600_000;

/** The member of an event that makes it sticky, before the proposal is stable. */
export const STICKY_KEY = "msc4354_sticky";

/** Returns when an event that came at `receivedTs` stops being sticky (milliseconds since the epoch); null if it is not. */
export function stickyEndOf(pdu: Readonly<JsonObject>, receivedTs: number): number | null {
  const sticky = pdu[STICKY_KEY];
  if (!isJsonObject(sticky)) return null;
  const durationMs = sticky["duration_ms"];
  if (typeof durationMs !== "number" || !Number.isInteger(durationMs) || durationMs < 0) return null;
  const sentTs = pdu["origin_server_ts"];
  // A time of sending that lies ahead must not make the event last longer.
  const startTs = typeof sentTs === "number" ? Math.min(sentTs, receivedTs) : receivedTs;
  return startTs + Math.min(durationMs, MAX_STICKY_MS);
}
