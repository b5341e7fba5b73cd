/** From the option `database` to what opens it. */
import type { DatabaseConfig } from "../config/database.ts";
import type { DatabaseOptions } from "./open_database.ts";

/** Returns how to open the database of a configuration. */
export function databaseOptions(config: DatabaseConfig): DatabaseOptions {
  if (config.name === "sqlite3") return { sqlite: { path: config.path } };
  const text = (...names: string[]) => {
    for (const name of names) {
      const value = config.args[name];
      if (typeof value === "string" && value !== "") return value;
    }
    return undefined;
  };
  const [host, user, password] = [text("host"), text("user"), text("password")];
  const name = text("dbname", "database");
  const port = Number(config.args.port ?? 5432);
  const ssl = sslMode(text("sslmode"));
  return {
    postgres: {
      server: {
        port,
        ...(host === undefined ? {} : { host }),
        ...(user === undefined ? {} : { user }),
        ...(password === undefined ? {} : { password }),
        ...(name === undefined ? {} : { database: name }),
        ...(ssl === undefined ? {} : { ssl }),
      },
      maxConnections: config.maxConnections,
      allowUnsafeLocale: config.allowUnsafeLocale,
      claim: { waitMs: 0 },
    },
  };
}

/** libpq's names; those that only differ in how strictly they verify map to the stricter one that the driver has. */
function sslMode(mode: string | undefined): "require" | "prefer" | "verify-full" | false | undefined {
  if (mode === "disable") return false;
  if (mode === "allow" || mode === "prefer") return "prefer";
  if (mode === "require") return "require";
  if (mode === "verify-ca" || mode === "verify-full") return "verify-full";
  return undefined;
}
