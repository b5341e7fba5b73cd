/** What the doctor finds. */

/** How bad it is: `warn` works and should not stay so, `fail` does not work. */
export type Status = "ok" | "warn" | "fail";

/** One line of the report. */
export interface Finding {
  /** What was looked at, such as `database` or `certificate`. */
  readonly check: string;
  readonly status: Status;
  readonly message: string;
  /** What to do about it. */
  readonly advice?: string;
}

/** Says that something is right. */
export function ok(check: string, message: string): Finding {
  return { check, status: "ok", message };
}

/** Says that something should be changed. */
export function warn(check: string, { message, advice }: { message: string; advice: string }): Finding {
  return { check, status: "warn", message, advice };
}

/** Says that something does not work. */
export function fail(check: string, { message, advice }: { message: string; advice: string }): Finding {
  return { check, status: "fail", message, advice };
}

/** Returns what went wrong in one line. */
export function reasonText(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.split("\n")[0] ?? text;
}

/** Returns a number of bytes for people. */
export function bytesText(bytes: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let [value, unit] = [bytes, 0];
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
