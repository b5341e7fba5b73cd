/** Positions of the streams as syncs use them. */
import { type StreamPositions, STREAMS } from "../streams/notifier.ts";

/** Returns positions that do not go back behind a token, not even where a stream in memory started anew. */
export function notLess(positions: StreamPositions, since: StreamPositions | null): StreamPositions {
  if (since === null) return positions;
  const higher = { ...positions };
  for (const stream of STREAMS) higher[stream] = Math.max(positions[stream], since[stream]);
  return higher;
}
