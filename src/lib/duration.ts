/**
 * Durations as Synapse's configuration writes them: an integer of milliseconds, or an integer with a unit (`30s`, `5m`,
 * `1h`, `7d`, `2w`, `1y`).
 */
const UNIT_MS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  y: 31_536_000_000,
};

/** Returns milliseconds, or null when `value` is no duration or is too large to count in milliseconds. */
export function parseDuration(value: unknown): number | null {
  if (typeof value === "number") return Number.isSafeInteger(value) && value >= 0 ? value : null;
  if (typeof value !== "string") return null;
  const match = /^(\d{1,16})([smhdwy]?)$/.exec(value.trim());
  if (match === null) return null;
  const ms = Number(match[1]) * (UNIT_MS[match[2] ?? ""] ?? 1);
  return Number.isSafeInteger(ms) ? ms : null;
}

/** Returns the shortest exact spelling of `ms`, for messages: `90s`, `2h`, `250ms`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return "0s";
  for (const unit of ["d", "h", "m", "s"]) {
    const size = UNIT_MS[unit] ?? 1;
    if (ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}
