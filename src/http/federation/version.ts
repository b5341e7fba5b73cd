/**
 * Which program this is. Spec: server-server API, "Server implementation".
 *   GET /_matrix/federation/v1/version
 */
import { VERSION } from "../../lib/version.ts";
import { type App, plain } from "../app.ts";
import { json } from "../middleware/responses.ts";

/** Registers the endpoint. */
export function federationVersionRoutes(app: App): void {
  plain(app).get(
    "/_matrix/federation/v1/version",
    () => json({ server: { name: "synapse-ts", version: VERSION } }),
  );
}
