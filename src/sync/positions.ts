/** Positions of the streams as syncs use them. */
import { type StreamPositions, STREAMS } from "../streams/notifier.ts";

/** Returns positions that do not go back behind a token, not even where a stream in memory started anew. */
export function notLess(positions: StreamPositions, since: StreamPositions | null): StreamPositions {
  if (since === null || STREAMS.every((stream) => positions[stream] >= since[stream])) return positions;
  const higher = { ...positions };
  for (const stream of STREAMS) higher[stream] = Math.max(positions[stream], since[stream]);
  return higher;
}

/** Tells whether nothing has happened in any stream since a token. */
export function isNothingAfter(since: StreamPositions | null, positions: StreamPositions): boolean {
  return since !== null && STREAMS.every((stream) => positions[stream] <= since[stream]);
}
