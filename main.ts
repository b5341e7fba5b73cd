/** The program: hands the command line to its command. */
import { runCli } from "./src/cli/commands.ts";
import { programName } from "./src/lib/program_name.ts";
import { systemClock } from "./src/lib/clock.ts";
import { processTerminal } from "./src/lib/terminal.ts";

const code = await runCli(Deno.args, {
  terminal: processTerminal(),
  clock: systemClock,
  env: (name) => Deno.env.get(name),
  program: programName(),
});
Deno.exit(code);
