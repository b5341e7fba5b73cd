/**
 * Whether the process answers, and the page at the root.
 *   GET /health, /, /_matrix/static/
 */
import { type App, plain } from "./app.ts";

/** What the routes are built from. */
export interface HealthRoutesDeps {
  /** `web_client_location`: where the root leads, or null. */
  readonly webClientLocation: string | null;
}

const PAGE_HEADERS = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
};

const PAGE = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>synapse-ts is running</title></head>
<body style="font-family: sans-serif; max-width: 40em; margin: 4em auto">
<h1>It works! synapse-ts is running</h1>
<p>This is a Matrix homeserver. To use it, open a Matrix client and enter this server's name.</p>
</body>
</html>
`;

/** Registers the endpoints. */
export function healthRoutes(app: App, { webClientLocation }: HealthRoutesDeps): void {
  const target = webClientLocation ?? "/_matrix/static/";
  plain(app)
    .get("/health", () => new Response("OK", { headers: { "content-type": "text/plain; charset=utf-8" } }))
    .get("/", () => new Response(null, { status: 302, headers: { location: target } }))
    .get("/_matrix/static/", () => new Response(PAGE, { headers: PAGE_HEADERS }));
}
