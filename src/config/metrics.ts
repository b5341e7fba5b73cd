/** Options of the manual's sections "Metrics", "Opentracing", "Background Updates", and `stats`. */
import {
  anything,
  boolean,
  integer,
  list,
  noEffect,
  nullable,
  object,
  option,
  record,
  string,
  works,
} from "./schema.ts";

const REPORTS_NOTHING = "this server reports nothing to anyone";

const OPENTRACING = {
  enabled: option(boolean, false),
  homeserver_whitelist: option(list(string), []),
  force_tracing_for_users: option(list(string), []),
  jaeger_config: option(record(anything), {}),
  otlp_endpoint: option(string, "http://localhost:4318"),
};

const BACKGROUND_UPDATES = {
  background_update_duration_ms: option(integer({ min: 1 }), 100),
  sleep_enabled: option(boolean, true),
  sleep_duration_ms: option(integer(), 1000),
  min_batch_size: option(integer({ min: 1 }), 1),
  default_batch_size: option(integer({ min: 1 }), 100),
};

/** The table of the sections. */
export const METRICS_OPTIONS = {
  enable_metrics: option(
    boolean,
    false,
    works("Collect metrics, for listeners with the resource `metrics` or the type `metrics`."),
  ),
  sentry: option(
    nullable(object({ dsn: option(nullable(string), null), environment: option(nullable(string), null) })),
    null,
    works(
      "Send errors to Sentry, or what speaks its protocol: the line of the log without its values, the kind of the error " +
        "and where it arose. Messages of errors and what clients sent stay in the log.",
    ),
  ),
  metrics_flags: option(
    object({ known_servers: option(boolean, false) }),
    {},
    works("Metrics that cost more: `known_servers` counts the servers in all rooms."),
  ),
  report_stats: option(
    nullable(boolean),
    null,
    noEffect(
      "Report usage to matrix.org. Synapse insists on an answer; here it may be left out.",
      REPORTS_NOTHING,
    ),
  ),
  report_stats_endpoint: option(
    string,
    "https://matrix.org/report-usage-stats/push",
    noEffect("Where usage is reported.", REPORTS_NOTHING),
  ),
  opentracing: option(
    object(OPENTRACING),
    {},
    works(
      "Send each request as a span to an OpenTelemetry collector or to Jaeger, by OTLP over HTTP at `otlp_endpoint` (an " +
        "option of this server's own). Of `jaeger_config` only `sampler` counts, by `type` (`const`, `probabilistic`) " +
        "and `param`; traces do not go on to other servers, so `homeserver_whitelist` has no effect, nor has " +
        "`force_tracing_for_users`. Takes effect at the start.",
    ),
  ),
  stats: option(object({ enabled: option(boolean, true) }), {}, works("Count members and events of rooms.")),
  background_updates: option(
    object(BACKGROUND_UPDATES),
    {},
    noEffect("How hard long changes of the database work.", "an upgrade is complete when the server has started"),
  ),
};
