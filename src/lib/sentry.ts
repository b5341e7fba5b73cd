/**
 * Errors of the log as events for Sentry (https://develop.sentry.dev/sdk/foundations/envelopes/).
 *
 * What is sent is the line's own text, which is the same each time, the kind of the error and where it arose. Neither the
 * fields of the line nor the message of the error are: those can hold what a client or another server sent.
 */
import { randomBytes } from "node:crypto";
import { BackgroundPost } from "./background_post.ts";
import type { LogRecord } from "./log_format.ts";
import type { LogOutput, LogRoutes } from "./log.ts";
import { VERSION } from "./version.ts";

/** Where events go and what they say of this server. */
export interface SentryOptions {
  /** The project's address with its public key, as Sentry shows it. */
  readonly dsn: string;
  readonly environment: string | null;
  readonly serverName: string;
}

interface Frame {
  readonly function: string;
  readonly filename: string;
  readonly lineno: number;
  readonly colno: number;
}

const FRAME = /^\s+at (?:async )?(?:(.+?) \()?([^()\s]+):(\d+):(\d+)\)?$/;
const ERROR_NAME = /^(?:Uncaught )?([A-Z][A-Za-z0-9]*)(?=[:\s]|$)/;
const MAX_FRAMES = 50;

/** Returns where a DSN sends envelopes and with which key, or null when it is none. */
export function parseDsn(dsn: string): { url: string; key: string } | null {
  const match = /^(https?):\/\/([^:@/?#]+)(?::[^@/?#]*)?@([^@/?#]+)((?:\/[^/?#]+)*)\/(\d+)$/.exec(dsn);
  if (match === null) return null;
  const [, scheme, key = "", host, path = "", project] = match;
  return { url: `${scheme}://${host}${path}/api/${project}/envelope/`, key };
}

/** Returns an output that sends errors, for `withOutput`; null where the DSN is none. */
export function sentryOutput({ dsn, environment, serverName }: SentryOptions): LogOutput | null {
  const target = parseDsn(dsn);
  if (target === null) return null;
  const post = new BackgroundPost();
  const headers = {
    "content-type": "application/x-sentry-envelope",
    "x-sentry-auth": `Sentry sentry_version=7, sentry_client=synapse-ts/${VERSION}, sentry_key=${target.key}`,
  };
  return {
    level: "error",
    format: (record) => toEnvelope(record, { environment, serverName }),
    sink: {
      write: (body) => post.add({ url: target.url, headers, body }),
      flush: () => post.flush(),
      close: () => post.flush(),
    },
  };
}

/** Adds an output to all that is logged. */
export function withOutput(routes: LogRoutes, output: LogOutput): LogRoutes {
  const root = routes.get("") ?? { level: null, outputs: [], propagate: false };
  const all = new Map(routes).set("", root);
  for (const [name, route] of all) {
    // Lines of the others come to the root.
    if (name === "" || !route.propagate) all.set(name, { ...route, outputs: [...route.outputs, output] });
  }
  return all;
}

function toEnvelope(
  { time, name, level, message, fields }: LogRecord,
  { environment, serverName }: Pick<SentryOptions, "environment" | "serverName">,
): string {
  const eventId = randomBytes(16).toString("hex");
  const exception = describeException(fields?.error);
  const event = JSON.stringify({
    event_id: eventId,
    timestamp: time / 1000,
    platform: "javascript",
    level: level === "critical" ? "fatal" : "error",
    logger: name,
    server_name: serverName,
    release: `synapse-ts@${VERSION}`,
    ...(environment === null ? {} : { environment }),
    logentry: { formatted: message },
    ...(exception === null ? {} : { exception: { values: [exception] } }),
  });
  const size = new TextEncoder().encode(event).length;
  return `{"event_id":"${eventId}"}\n{"type":"event","length":${size}}\n${event}\n`;
}

/** Returns the kind of an error and its stack; Sentry wants the innermost call last. */
function describeException(error: unknown): { type: string; stacktrace: { frames: readonly Frame[] } } | null {
  const text = error instanceof Error ? error.stack ?? error.name : typeof error === "string" ? error : null;
  if (text === null) return null;
  const frames: Frame[] = [];
  for (const line of text.split("\n")) {
    if (line.startsWith("caused by ")) break;
    const [, where = "<anonymous>", filename = "", lineno, colno] = FRAME.exec(line) ?? [];
    if (lineno !== undefined) frames.push({ function: where, filename, lineno: Number(lineno), colno: Number(colno) });
  }
  const type = error instanceof Error ? error.name : ERROR_NAME.exec(text)?.[1] ?? "Error";
  return { type, stacktrace: { frames: frames.slice(0, MAX_FRAMES).reverse() } };
}
