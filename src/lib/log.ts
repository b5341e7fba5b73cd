/**
 * Logging: hierarchical loggers (`synapse.http` is under `synapse`), levels, plain text or JSON, console or files.
 *
 * A call below its level costs one comparison. Lines are gathered while a write is under way and written together, so a
 * slow terminal or disk holds nobody up; past a bound lines are dropped and the number is logged.
 */
import { type LogFields, type LogFormat, type LogRecord, plainFormat } from "./log_format.ts";
import { ConsoleSink, type Sink } from "./log_sinks.ts";

/** How much a line matters. */
export type LogLevel = "debug" | "info" | "warning" | "error" | "critical";

const RANK: Readonly<Record<LogLevel, number>> = { debug: 10, info: 20, warning: 30, error: 40, critical: 50 };

/** Where lines of a logger go. */
export interface LogRoute {
  /** Lines below it are dropped; null takes the level of the logger above. */
  readonly level: LogLevel | null;
  readonly outputs: readonly LogOutput[];
  /** Whether lines also go where those of the logger above go. */
  readonly propagate: boolean;
}

/** A sink with the form its lines have. */
export interface LogOutput {
  readonly sink: Sink;
  readonly format: LogFormat;
  readonly level: LogLevel | null;
}

/** All routes by logger name; the root's name is empty. */
export type LogRoutes = ReadonlyMap<string, LogRoute>;

/** Writes lines under one name. Fields never hold secrets, tokens or message bodies. */
export interface Logger {
  readonly name: string;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** Whether lines of the level are written, for callers that would have to work for the fields. */
  isEnabled(level: LogLevel): boolean;
}

class HierarchicalLogger implements Logger {
  readonly name: string;
  threshold = 0;
  outputs: readonly LogOutput[] = [];

  constructor(name: string) {
    this.name = name;
  }

  debug(message: string, fields?: LogFields): void {
    if (this.threshold <= 10) this.#write({ level: "debug", message, fields });
  }

  info(message: string, fields?: LogFields): void {
    if (this.threshold <= 20) this.#write({ level: "info", message, fields });
  }

  warn(message: string, fields?: LogFields): void {
    if (this.threshold <= 30) this.#write({ level: "warning", message, fields });
  }

  error(message: string, fields?: LogFields): void {
    if (this.threshold <= 40) this.#write({ level: "error", message, fields });
  }

  isEnabled(level: LogLevel): boolean {
    return this.threshold <= RANK[level];
  }

  #write({ level, message, fields }: { level: LogLevel; message: string; fields: LogFields | undefined }): void {
    const record: LogRecord = { time: Date.now(), name: this.name, level, message, fields: fields ?? null };
    for (const output of this.outputs) {
      if (output.level === null || RANK[level] >= RANK[output.level]) output.sink.write(output.format(record));
    }
  }
}

const loggers = new Map<string, HierarchicalLogger>();
let routes: LogRoutes = consoleRoutes("info");

/** Returns the logger of a name such as `synapse.http`. Its level follows later changes of the routes. */
export function getLogger(name: string): Logger {
  const known = loggers.get(name);
  if (known !== undefined) return known;
  const logger = new HierarchicalLogger(name);
  resolve(logger);
  loggers.set(name, logger);
  return logger;
}

/** Puts new routes in force for all loggers, and closes the sinks that are no longer used. */
export async function setLogRoutes(next: LogRoutes): Promise<void> {
  const before = listSinks(routes);
  routes = next;
  for (const logger of loggers.values()) resolve(logger);
  const kept = listSinks(next);
  await Promise.all([...before].filter((sink) => !kept.has(sink)).map((sink) => sink.close()));
}

/** Writes out what is waiting. Call it before the process ends. */
export async function flushLogs(): Promise<void> {
  await Promise.all([...listSinks(routes)].map((sink) => sink.flush()));
}

/** Returns routes that write everything of a level or above to standard error. */
export function consoleRoutes(level: LogLevel): LogRoutes {
  const outputs = [{ sink: new ConsoleSink("stderr"), format: plainFormat, level: null }];
  return new Map([["", { level, outputs, propagate: false }]]);
}

/** Returns the level of a Python name such as `INFO` or `WARN`, or null when there is none. */
export function parseLogLevel(name: string): LogLevel | null {
  const lower = name.toLowerCase();
  if (lower === "warn") return "warning";
  if (lower === "fatal") return "critical";
  if (lower === "notset") return "debug";
  return Object.hasOwn(RANK, lower) ? lower as LogLevel : null;
}

function resolve(logger: HierarchicalLogger): void {
  let level: LogLevel | null = null;
  const outputs: LogOutput[] = [];
  let isReached = true;
  for (let name: string | null = logger.name; name !== null; name = parentOf(name)) {
    const route = routes.get(name);
    if (route === undefined) continue;
    level ??= route.level;
    if (isReached) outputs.push(...route.outputs);
    isReached &&= route.propagate;
  }
  logger.outputs = outputs;
  logger.threshold = outputs.length === 0 ? Infinity : RANK[level ?? "warning"];
}

function parentOf(name: string): string | null {
  if (name === "") return null;
  const dot = name.lastIndexOf(".");
  return dot < 0 ? "" : name.slice(0, dot);
}

function listSinks(from: LogRoutes): Set<Sink> {
  return new Set([...from.values()].flatMap(({ outputs }) => outputs.map(({ sink }) => sink)));
}
