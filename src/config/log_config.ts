/**
 * The file of `log_config`: the YAML form of Python's `logging.config.dictConfig`, as Synapse uses it.
 *
 * What is read: levels of loggers and of the root, console and file handlers (plain, rotated by size, rotated by day),
 * memory handlers (their target counts; buffering is built in), format strings, and Synapse's JSON formatters.
 */
import { jsonFormat, type LogFormat, plainFormat, pythonFormat, terseJsonFormat } from "../lib/log_format.ts";
import {
  consoleRoutes,
  type LogLevel,
  type LogOutput,
  type LogRoute,
  type LogRoutes,
  parseLogLevel,
} from "../lib/log.ts";
import { ConsoleSink, FileSink, type Rotation } from "../lib/log_sinks.ts";
import { reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";
import { isMap } from "./schema.ts";
import { parseYaml } from "./source.ts";

const FILE_HANDLERS: readonly string[] = [
  "FileHandler",
  "RotatingFileHandler",
  "TimedRotatingFileHandler",
  "WatchedFileHandler",
];
const MEMORY_HANDLERS: readonly string[] = ["MemoryHandler", "PeriodicallyFlushingMemoryHandler"];

/** Routes for `setLogRoutes`, and what of the file could not be followed. */
export interface LoadedLogConfig {
  readonly routes: LogRoutes;
  readonly warnings: readonly string[];
}

/** Reads a log configuration and opens its files; without one, everything from INFO on goes to standard error. */
export async function loadLogConfig(path: string | null): Promise<LoadedLogConfig> {
  if (path === null) return { routes: consoleRoutes("info"), warnings: [] };
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    throw new StartupError(`Cannot read the log configuration ${path}: ${reasonOf(error)}`);
  }
  const { value } = parseYaml(text, path);
  if (!isMap(value)) throw new StartupError(`${path}: the log configuration must be a map`);
  return await new LogConfigReader(path, value).read();
}

class LogConfigReader {
  readonly #path: string;
  readonly #raw: Record<string, unknown>;
  readonly #warnings: string[] = [];
  readonly #outputs = new Map<string, Promise<LogOutput | null>>();

  constructor(path: string, raw: Record<string, unknown>) {
    this.#path = path;
    this.#raw = raw;
  }

  async read(): Promise<LoadedLogConfig> {
    const routes = new Map<string, LogRoute>();
    for (const [name, logger] of Object.entries(mapOf(this.#raw.loggers))) {
      routes.set(name, await this.#route(mapOf(logger), `loggers.${name}`));
    }
    const root = await this.#route(mapOf(this.#raw.root), "root");
    routes.set("", root.outputs.length > 0 ? root : { ...root, outputs: consoleOutputs() });
    return { routes, warnings: this.#warnings };
  }

  async #route(logger: Record<string, unknown>, option: string): Promise<LogRoute> {
    const names = Array.isArray(logger.handlers) ? logger.handlers.map(String) : [];
    const outputs = await Promise.all(names.map((name) => this.#output(name)));
    return {
      level: this.#level(logger.level, `${option}.level`),
      outputs: outputs.filter((output) => output !== null),
      propagate: logger.propagate !== false,
    };
  }

  #output(name: string): Promise<LogOutput | null> {
    let output = this.#outputs.get(name);
    if (output === undefined) {
      output = this.#openOutput(name);
      this.#outputs.set(name, output);
    }
    return output;
  }

  async #openOutput(name: string): Promise<LogOutput | null> {
    const handler = mapOf(mapOf(this.#raw.handlers)[name]);
    const kind = String(handler.class ?? "").split(".").at(-1) ?? "";
    if (MEMORY_HANDLERS.includes(kind) && typeof handler.target === "string" && handler.target !== name) {
      return await this.#output(handler.target);
    }
    const level = this.#level(handler.level, `handlers.${name}.level`);
    const format = this.#format(handler.formatter);
    if (kind === "StreamHandler") {
      const stream = String(handler.stream ?? "").endsWith("stdout") ? "stdout" : "stderr";
      return { sink: new ConsoleSink(stream), format, level };
    }
    if (FILE_HANDLERS.includes(kind)) return { sink: await this.#openFile(handler, name), format, level };
    this.#warn(`handlers.${name}`, kind === "" ? "does not exist" : `has class "${kind}", which is not supported`);
    return null;
  }

  async #openFile(handler: Record<string, unknown>, name: string): Promise<FileSink> {
    const file = handler.filename;
    if (typeof file !== "string") {
      throw new StartupError(`${this.#path}: option "handlers.${name}.filename" must be the path of a file`);
    }
    const sink = new FileSink(file, rotationOf(handler));
    try {
      await sink.open();
    } catch (error) {
      throw new StartupError(`Cannot write the log file ${file}, named in ${this.#path}: ${reasonOf(error)}`);
    }
    return sink;
  }

  #format(name: unknown): LogFormat {
    if (name === undefined || name === null) return plainFormat;
    const formatter = mapOf(mapOf(this.#raw.formatters)[String(name)]);
    const kind = String(formatter.class ?? formatter["()"] ?? "").split(".").at(-1);
    if (kind === "TerseJsonFormatter" || kind === "GcpJsonFormatter") return terseJsonFormat;
    if (kind === "JsonFormatter") return jsonFormat;
    return typeof formatter.format === "string" ? pythonFormat(formatter.format) : plainFormat;
  }

  #level(value: unknown, option: string): LogLevel | null {
    if (value === undefined || value === null) return null;
    const level = parseLogLevel(String(value));
    if (level === null) {
      throw new StartupError(
        `${this.#path}: option "${option}" is ${
          JSON.stringify(value)
        } but must be DEBUG, INFO, WARNING, ERROR or CRITICAL`,
      );
    }
    return level;
  }

  #warn(option: string, message: string): void {
    this.#warnings.push(`${this.#path}: option "${option}" ${message}`);
  }
}

function consoleOutputs(): LogOutput[] {
  return [{ sink: new ConsoleSink("stderr"), format: plainFormat, level: null }];
}

function rotationOf(handler: Record<string, unknown>): Rotation | null {
  const kind = String(handler.class).split(".").at(-1);
  const keep = Math.max(0, Number(handler.backupCount ?? 0)) || 0;
  // Python's default is by the hour; what is longer than a day is put aside each day here.
  const isHourly = /^[smh]?$/i.test(String(handler.when ?? "h"));
  if (kind === "TimedRotatingFileHandler") return { by: isHourly ? "hour" : "day", keep };
  if (kind !== "RotatingFileHandler") return null;
  return { by: "size", maxBytes: Math.max(0, Number(handler.maxBytes ?? 0)) || 0, keep };
}

function mapOf(value: unknown): Record<string, unknown> {
  return isMap(value) ? value : {};
}
