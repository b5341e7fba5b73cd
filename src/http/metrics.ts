/**
 * What Prometheus collects, on listeners that serve it.
 *   GET /_synapse/metrics, and /metrics as Synapse's own listeners of the type `metrics` have it
 */
import type { Metrics } from "../lib/metrics.ts";
import { unrecognized } from "../protocol/errors.ts";
import { type App, plain } from "./app.ts";

/** Registers the endpoints. Which listeners serve them is decided by their resources. */
export function metricsRoutes(app: App, { metrics }: { metrics: Metrics }): void {
  const answer = async () => {
    if (!metrics.isEnabled) throw unrecognized();
    const { text, contentType } = await metrics.render();
    return new Response(text, { headers: { "content-type": contentType } });
  };
  plain(app).get("/_synapse/metrics", answer).get("/metrics", answer);
}
