/** Streams of node packages as those of the platform. */
import type { Readable } from "node:stream";

/** Returns the bytes of a stream as they are read. Giving the result up ends the source. */
export function webStreamOf(source: Readable): ReadableStream<Uint8Array> {
  // A stream that is given up fails; without a listener that would end the process. Readers learn of failures below.
  source.on("error", () => {});
  const chunks: AsyncIterator<Uint8Array> = source[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await chunks.return?.();
      source.destroy();
    },
  }, { highWaterMark: 0 });
}
