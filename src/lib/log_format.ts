/** How a line of the log looks: a Python format string, or one of Synapse's JSON forms. */
import type { LogLevel } from "./log.ts";

/** Named values of a line. An `Error` is written with its stack. */
export type LogFields = Readonly<Record<string, unknown>>;

/** What one line says. */
export interface LogRecord {
  /** Milliseconds since the Unix epoch. */
  readonly time: number;
  readonly name: string;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields | null;
}

/** Turns a record into text that ends in a line feed. */
export type LogFormat = (record: LogRecord) => string;

const DEFAULT_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s";

/** Synapse's plain form: time, name, level, message, then fields. */
export const plainFormat: LogFormat = pythonFormat(DEFAULT_FORMAT);

/** Synapse's `TerseJsonFormatter`: one JSON object a line, with the time in seconds. */
export function terseJsonFormat(record: LogRecord): string {
  return jsonLine(record, { time: Math.round(record.time) / 1000 });
}

/** Synapse's `JsonFormatter`: the same without the time, for collectors that add theirs. */
export function jsonFormat(record: LogRecord): string {
  return jsonLine(record, {});
}

/**
 * Returns the form of a Python format string (`%(asctime)s - %(message)s`).
 *
 * `request` is the field of that name; what has no counterpart here (`lineno`, `thread`…) is `-` or 0.
 */
export function pythonFormat(template: string): LogFormat {
  const parts = template.split(/(%\(\w+\)-?\d*[sd]|%%)/).filter((part) => part !== "").map(compilePart);
  return (record) => {
    let line = "";
    for (const part of parts) line += part(record);
    return line + errorStacks(record.fields) + "\n";
  };
}

function compilePart(part: string): (record: LogRecord) => string {
  if (part === "%%") return () => "%";
  const match = /^%\((\w+)\)(-?)(\d*)([sd])$/.exec(part);
  if (match === null) return () => part;
  const [, name = "", minus, width = "", type] = match;
  const value = valueOf(name, type === "d" ? "0" : "-");
  if (width === "") return value;
  return (record) => minus === "-" ? value(record).padEnd(Number(width)) : value(record).padStart(Number(width));
}

function valueOf(name: string, absent: string): (record: LogRecord) => string {
  switch (name) {
    case "asctime":
      return ({ time }) => formatTime(time);
    case "name":
      return (record) => record.name;
    case "levelname":
      return ({ level }) => level.toUpperCase();
    case "message":
      return ({ message, fields }) => message + plainFields(fields);
    case "request":
      return ({ fields }) => fields?.request === undefined ? "-" : String(fields.request);
    case "process":
      return () => String(Deno.pid);
    default:
      return () => absent;
  }
}

let cachedSecond = -1;
let cachedText = "";

/** Returns local time as Python writes it: `2024-05-01 12:34:56,789`. */
function formatTime(time: number): string {
  const second = Math.floor(time / 1000);
  if (second !== cachedSecond) {
    const date = new Date(time);
    const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
    cachedText = `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
    cachedSecond = second;
  }
  return `${cachedText},${String(Math.floor(time) % 1000).padStart(3, "0")}`;
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}

function plainFields(fields: LogFields | null): string {
  if (fields === null) return "";
  let text = "";
  for (const [key, value] of Object.entries(fields)) {
    if (key !== "request" && !(value instanceof Error)) text += ` ${key}=${plainValue(value)}`;
  }
  return text;
}

/** Keeps a value on its line, so that nobody can forge lines with what they send. */
function plainValue(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? String(value);
  return /^[^\s"\p{Cc}]+$/u.test(text) ? text : JSON.stringify(text);
}

function errorStacks(fields: LogFields | null): string {
  if (fields === null) return "";
  let text = "";
  for (const value of Object.values(fields)) if (value instanceof Error) text += `\n${stackOf(value)}`;
  return text;
}

function stackOf(error: Error): string {
  const stack = error.stack ?? `${error.name}: ${error.message}`;
  return error.cause instanceof Error ? `${stack}\nCaused by: ${stackOf(error.cause)}` : stack;
}

function jsonLine({ name, level, message, fields }: LogRecord, extra: LogFields): string {
  const line: Record<string, unknown> = { log: message, namespace: name, level: level.toUpperCase(), ...extra };
  for (const [key, value] of Object.entries(fields ?? {})) {
    if (value instanceof Error) line[key] = stackOf(value);
    else line[Object.hasOwn(line, key) ? `${key}_` : key] = value;
  }
  return `${JSON.stringify(line)}\n`;
}
