/** A process that is killed in the middle of its writing. */
import { equal } from "node:assert/strict";
import type { DatabaseOptions } from "../../src/storage/open_database.ts";

/**
 * Runs a program on a database, kills it once it has acknowledged so many writes on its standard output, and returns what
 * it acknowledged, a line each.
 */
export async function writeUntilKilled(
  program: URL,
  { options, acknowledgements }: { options: DatabaseOptions; acknowledgements: number },
): Promise<string[]> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", program.pathname, JSON.stringify(options)],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const errors = new Response(child.stderr).text();
  let text = "";
  let isKilled = false;
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (isKilled || text.split("\n").length <= acknowledgements) continue;
    child.kill("SIGKILL");
    isKilled = true;
  }
  const { signal } = await child.status;
  equal(signal, "SIGKILL", await errors);
  await errors;
  // The last line may be cut off: then it was not acknowledged.
  return text.split("\n").slice(0, -1);
}
