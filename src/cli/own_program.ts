/** Starts this program once more: in the background, or as a helper beside the server. */
/** How to start this program with other arguments: the executable itself, or Deno with the sources. */
export function ownProgram(args: readonly string[]): { readonly program: string; readonly args: readonly string[] } {
  const program = Deno.execPath();
  if (Deno.build.standalone) return { program, args };
  const main = new URL(Deno.mainModule).pathname;
  const permissions = ["net", "read", "write", "env", "sys", "run"].map((name) => `--allow-${name}`);
  return { program, args: ["run", "--quiet", "--no-check", ...permissions, main, ...args] };
}

/** What a start in the background came to. */
export interface DetachedStart {
  /** Null once it runs; else what it ended with. */
  readonly exitCode: number | null;
  readonly errors: string;
}

/**
 * Starts this program in a session of its own, and resolves when it has said `ready` or has ended.
 *
 * It keeps running when this process ends; what it writes to its console from then on goes nowhere.
 */
export async function startDetached(
  args: readonly string[],
  { ready, env }: { ready: RegExp; env: Readonly<Record<string, string>> },
): Promise<DetachedStart> {
  const own = ownProgram(args);
  // Not by node:child_process, which takes this program for a Node and changes its arguments.
  const child = new Deno.Command(own.program, {
    args: [...own.args],
    env: { ...env },
    detached: true,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let [output, errors] = ["", ""];
  const readErrors = follow(child.stderr, (text) => {
    errors = (errors + text).slice(-MAX_KEPT);
    return false;
  });
  const isReady = await follow(child.stdout, (text) => ready.test(output = (output + text).slice(-MAX_KEPT)));
  if (isReady) {
    child.unref();
    return { exitCode: null, errors };
  }
  const { code } = await child.status;
  await readErrors;
  return { exitCode: code, errors };
}

const MAX_KEPT = 65_536;

/** Reads text until `isEnough` says so; returns false when it ended before. */
async function follow(stream: ReadableStream<Uint8Array>, isEnough: (text: string) => boolean): Promise<boolean> {
  const decoder = new TextDecoder();
  for await (const chunk of stream) if (isEnough(decoder.decode(chunk, { stream: true }))) return true;
  return false;
}
