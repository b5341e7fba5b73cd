/** What `database.args` says of the connection to PostgreSQL, by libpq's names. */
import { type At, integer, nearestName, oneOf, type Schema, secret, string } from "./schema.ts";

const port: Schema<number> = integer({ min: 1, max: 65_535 });
const sslMode = oneOf(["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]);

/** Read here. Sorted. */
const READ = ["cp_max", "cp_min", "database", "dbname", "host", "password", "port", "sslmode", "user"];
/** Of the driver that Synapse has; nothing is lost without them. Sorted. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set([
  "application_name",
  "connect_timeout",
  "cp_good_sql",
  "cp_noisy",
  "cp_openfun",
  "cp_reconnect",
  "fallback_application_name",
  "keepalives",
  "keepalives_count",
  "keepalives_idle",
  "keepalives_interval",
]);

/** Returns the arguments with texts as texts, as the driver of Synapse takes them. Throws `Mismatch`. */
export function readPostgresArgs(args: Readonly<Record<string, unknown>>, at: At): Readonly<Record<string, unknown>> {
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(args)) {
    const path = [...at.path, name];
    if (READ.includes(name)) result[name] = value === null ? null : readArg(name, { value, at: { ...at, path } });
    else if (!WITHOUT_EFFECT.has(name)) at.report.warning(path, unknownArg(name));
  }
  return result;
}

function readArg(name: string, { value, at }: { value: unknown; at: At }): unknown {
  if (name.startsWith("cp_")) return value;
  if (name === "port") return port.read(typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value, at);
  if (name === "sslmode") return sslMode.read(value, at);
  if (typeof value === "number") return String(value);
  return (name === "password" ? secret : string).read(value, at);
}

function unknownArg(name: string): string {
  const nearest = nearestName(name, READ);
  return nearest === null ? "has no effect here" : `is not an option; did you mean "${nearest}"?`;
}
