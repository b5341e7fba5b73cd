/** Sizes as Synapse's configuration writes them: an integer, or an integer with `K`, `M`, `G` or `T` (powers of 1,024). */
const UNITS = ["", "K", "M", "G", "T"];

/** Returns the number of bytes (or of whatever is counted), or null when `value` is no size. */
export function parseSize(value: unknown): number | null {
  if (typeof value === "number") return Number.isSafeInteger(value) && value >= 0 ? value : null;
  if (typeof value !== "string") return null;
  const match = /^(\d{1,16})\s*(?:([KMGT])(?:iB|B)?|B)?$/.exec(value.trim());
  if (match === null) return null;
  const size = Number(match[1]) * 1024 ** UNITS.indexOf(match[2] ?? "");
  return Number.isSafeInteger(size) ? size : null;
}

/** Returns `bytes` with the largest unit that divides it, as the configuration would write it: `50M`. */
export function formatSize(bytes: number): string {
  let power = 0;
  while (bytes > 0 && bytes % 1024 === 0 && power < UNITS.length - 1) {
    bytes /= 1024;
    power++;
  }
  return `${bytes}${UNITS[power]}`;
}
