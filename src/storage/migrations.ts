/**
 * The schema, as numbered steps. One line for each here; a step is never edited after a release.
 *
 * `NNNN_name.sql` is one text for both dialects; where they must differ there are two files and both keys. Two things are
 * said differently to SQLite, see `migrate.ts`: `BIGINT NOT NULL PRIMARY KEY`, and what stands in `/*sqlite: … *\/`.
 */
import core from "../../migrations/0001_core.sql" with { type: "text" };
import rooms from "../../migrations/0003_rooms.sql" with { type: "text" };
import type { Dialect } from "./sql.ts";

/** One step of the schema. */
export interface Migration {
  readonly name: string;
  readonly text: string | { readonly [D in Dialect]: string };
}

/** Every step, in order. Sorted; one line each. */
export const MIGRATIONS: readonly Migration[] = [
  { name: "0001_core", text: core },
  { name: "0003_rooms", text: rooms },
];
