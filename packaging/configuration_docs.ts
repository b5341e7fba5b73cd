/** Writes `docs/configuration.md` from the table of options: `make docs`. */
import { manualText } from "../src/config/manual.ts";

await Deno.writeTextFile(new URL("../docs/configuration.md", import.meta.url), manualText());
