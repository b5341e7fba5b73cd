/** The thread that computes password hashes, so that the main thread does not wait a quarter of a second for each. */
import { computeHash, type PasswordJob, verifyHash } from "./password_hash.ts";

interface WorkerScope {
  onmessage: ((event: MessageEvent<{ id: number; job: PasswordJob }>) => void) | null;
  postMessage(message: unknown): void;
}

const scope = self as unknown as WorkerScope;

scope.onmessage = async ({ data: { id, job } }) => {
  try {
    const result = job.kind === "hash" ? await computeHash(job) : await verifyHash(job);
    scope.postMessage({ id, result });
  } catch (error) {
    scope.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
};
