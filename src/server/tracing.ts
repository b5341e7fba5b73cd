/** Spans of requests, where `opentracing` is enabled, and who else is told of answered requests. */
import type { HandlerDeps } from "../http/handler.ts";
import type { AnsweredRequest } from "../http/middleware/access_log.ts";
import { Tracer } from "../lib/otlp.ts";
import { isMap } from "../config/schema.ts";
import type { Core } from "./core.ts";

/** Returns what sends spans, or null where nobody wants them. */
export function openTracing({ config, clock }: Core): Tracer | null {
  const { enabled, otlpEndpoint, jaegerConfig } = config.metrics.opentracing;
  if (!enabled) return null;
  return new Tracer({
    endpoint: otlpEndpoint,
    share: shareOf(jaegerConfig.sampler),
    serverName: config.serverName,
    now: () => clock.now(),
  });
}

/** The share of requests to trace, by Jaeger's `sampler`; all unless it says otherwise. */
function shareOf(sampler: unknown): number {
  if (!isMap(sampler) || typeof sampler.param !== "number") return 1;
  return Math.min(Math.max(sampler.param, 0), 1);
}

/** Returns what listeners tell of answered requests; nothing where nobody listens. */
export function observersOf(
  { meters: { hooks } }: Core,
  tracing: Tracer | null,
): Pick<HandlerDeps, "onBegun" | "onAnswered"> {
  const { onBegun, onAnswered } = hooks ?? {};
  const metered = { ...(onBegun && { onBegun }), ...(onAnswered && { onAnswered }) };
  if (tracing === null) return metered;
  return {
    ...metered,
    onAnswered(answered) {
      hooks?.onAnswered(answered);
      tracing.note(toSpan(answered));
    },
  };
}

/** The route stands for the path, which can hold tokens, and names what people would rather not tell. */
function toSpan({ request, response, info, durationMs, listener }: AnsweredRequest): Parameters<Tracer["note"]>[0] {
  return {
    method: request.method,
    route: info.route ?? "unknown",
    status: response.status,
    durationMs,
    traceparent: request.headers.get("traceparent"),
    attributes: {
      "synapse.request_id": info.requestId,
      "synapse.listener": listener,
      "synapse.db_ms": info.usage.ms,
      "synapse.db_count": info.usage.count,
      ...(info.session === null ? {} : { "enduser.id": info.session.requester.userId }),
    },
  };
}
