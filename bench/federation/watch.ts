/**
 * Runs inside a server that is measured (`deno run --preload`): how long at the most its event loop was held up, counted
 * in the time its main thread was on a processor, so that other work on the machine is not taken for its doing.
 *
 * Tells at SIGUSR2 what it has seen since the last time.
 */
const TICK_MS = 5;
const SHOWN = 5;

function threadMs(): number {
  return Number(Deno.readTextFileSync(`/proc/self/task/${Deno.pid}/schedstat`).split(" ")[0]) / 1e6;
}

const start = performance.now();
let held: { ms: number; at: number }[] = [];
let last = threadMs();
Deno.unrefTimer(setInterval(() => {
  const now = threadMs();
  held.push({ ms: now - last, at: performance.now() - start });
  if (held.length > 10_000) held = longest();
  last = now;
}, TICK_MS));

function longest(): typeof held {
  return held.sort((a, b) => b.ms - a.ms).slice(0, SHOWN);
}

let told = 0;
Deno.addSignalListener("SIGUSR2", () => {
  console.log(`WATCHED ${++told} ${JSON.stringify(longest())}`);
  held = [];
});
