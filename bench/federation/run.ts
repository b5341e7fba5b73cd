/**
 * The benches of federation, each in a process of its own, and what they are to reach: `make bench-federation`.
 *
 *   run.ts [join] [inbound] [outbound] [resolution] [disk]
 *
 * All of them unless some are named; about three minutes on the 2-core reference machine. SQLite with `synchronous=FULL`.
 * Fails where a target is missed.
 */
import { endChildrenOnSignals, RunningProcess } from "../../tests/harness/process.ts";
import { show } from "../figures.ts";
import { type Figure, FIGURE_MARK } from "./measure.ts";

const BENCHES = ["join", "inbound", "outbound", "resolution", "disk"] as const;

/** Runs a bench, shows what else it says, and returns its figures. */
async function runBench(name: string): Promise<Figure[]> {
  const root = new URL("../..", import.meta.url).pathname;
  const script = new URL(`${name}.ts`, import.meta.url).pathname;
  await using child = new RunningProcess(Deno.execPath(), {
    args: ["run", "--no-check", "-A", "--config", `${root}deno.json`, script],
    ownGroup: true,
  });
  console.log(`== ${name}`);
  const code = await child.exited;
  const figures: Figure[] = [];
  for (const line of child.stdout.split("\n")) {
    if (line.startsWith(FIGURE_MARK)) figures.push(JSON.parse(line.slice(FIGURE_MARK.length)));
    else if (line !== "") console.log(line);
  }
  if (code !== 0) throw new Error(`${name} ended with ${code}:\n${child.stderr}`);
  return figures;
}

function verdict({ value, target, isRate }: Figure): string {
  if (target === null) return "";
  return (isRate ? value >= target : value <= target) ? "met" : "MISSED";
}

function rowOf(figure: Figure): string[] {
  const { title, unit, value, target, isRate } = figure;
  return [title, unit, show(value), target === null ? "" : `${isRate ? ">=" : "<="} ${target}`, verdict(figure)];
}

async function main(): Promise<boolean> {
  endChildrenOnSignals();
  const unknown = Deno.args.filter((name) => !(BENCHES as readonly string[]).includes(name));
  if (unknown.length > 0) throw new Error(`There is no bench ${unknown.join(", ")}, only ${BENCHES.join(", ")}`);
  const figures: Figure[] = [];
  for (const name of BENCHES) {
    if (Deno.args.length === 0 || Deno.args.includes(name)) figures.push(...await runBench(name));
  }
  const rows = [["figure", "unit", "measured", "target", ""], ...figures.map(rowOf)];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const row of rows) {
    const cells = row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)
    );
    console.log(cells.join("  ").trimEnd());
  }
  return figures.every((figure) => verdict(figure) !== "MISSED");
}

try {
  Deno.exit(await main() ? 0 : 1);
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  Deno.exit(1);
}
