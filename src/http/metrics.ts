/**
 * What Prometheus collects, as Synapse serves it.
 *   GET /_synapse/metrics on listeners with the resource `metrics`
 *   GET any path on listeners of the type `metrics`, which serve nothing else
 */
import type { Metrics } from "../lib/metrics.ts";
import { unrecognized } from "../protocol/errors.ts";
import { type App, plain } from "./app.ts";
import type { RequestHandler } from "./handler.ts";

async function render(metrics: Metrics): Promise<Response> {
  const { text, contentType } = await metrics.render();
  return new Response(text, { headers: { "content-type": contentType } });
}

/** Registers the endpoint. Which listeners serve it is decided by their resources. */
export function metricsRoutes(app: App, { metrics }: { metrics: Metrics }): void {
  plain(app).get("/_synapse/metrics", async () => {
    if (!metrics.isEnabled) throw unrecognized();
    return await render(metrics);
  });
}

/** Makes the handler of a listener of the type `metrics`. */
export function metricsHandler(metrics: Metrics): RequestHandler {
  return async ({ method }) => {
    if (method === "GET" || method === "HEAD") return await render(metrics);
    return new Response("Only GET is served here\n", { status: 405, headers: { allow: "GET, HEAD" } });
  };
}
