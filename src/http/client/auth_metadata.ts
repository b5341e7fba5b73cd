/**
 * The OAuth 2.0 server that has the accounts. Spec: client-server API, "OAuth 2.0 API".
 *   GET /_matrix/client/v1/auth_metadata, and its names before the specification (MSC2965)
 */
import type { Mas } from "../../services/mas.ts";
import { type App, client } from "../app.ts";
import { json, jsonText } from "../middleware/responses.ts";

/** Registers the endpoints. */
export function authMetadataRoutes(app: App, mas: Mas): void {
  const metadata = async () => {
    const response = jsonText(JSON.stringify(await mas.metadata()));
    response.headers.set("cache-control", "public, max-age=600, s-maxage=3600, stale-while-revalidate=600");
    return response;
  };
  client(app, ["v1"]).get("/auth_metadata", metadata);
  client(app, ["unstable/org.matrix.msc2965"])
    .get("/auth_metadata", metadata)
    .get("/auth_issuer", async () => json({ issuer: String((await mas.metadata()).issuer) }));
}
