/** Schemas of values with a grammar of their own, used by more than one section. */
import { isIP } from "node:net";
import { parseServerName } from "../protocol/ids.ts";
import { checked, mapped, Mismatch, number, object, option, type Schema, string, type Values } from "./schema.ts";

/** An IP address, or a range in CIDR notation. */
export const ipRange: Schema<string> = checked('an IP address or a range such as "10.0.0.0/8"', (value) => {
  const [address, prefix, ...rest] = value.split("/");
  const family = isIP(address ?? "");
  if (family === 0 || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128));
});

/** A server name: a host name or address, with an optional port. */
export const serverName: Schema<string> = checked(
  'a server name such as "example.org"',
  (value) => parseServerName(value) !== null,
);

/** An absolute URL of http or https. */
export const httpUrl: Schema<string> = checked(
  'a URL such as "https://example.org/"',
  (value) => /^https?:\/\/./i.test(value) && URL.canParse(value),
);

const RATE_LIMIT = { per_second: option(number, 0.17), burst_count: option(number, 3) };

/** How often something may happen: a bucket of `burstCount` that refills at `perSecond`. */
export type RateLimit = Values<typeof RATE_LIMIT>;

/** A rate limit; a part that is left out is Synapse's general default. */
export const rateLimit: Schema<RateLimit> = object(RATE_LIMIT);

/** A regular expression that must fit from the start of a text, as Python's `re.match` has it. */
export const pattern: Schema<RegExp> = mapped(string, (text, at) => {
  try {
    return new RegExp(`^(?:${text})`, "u");
  } catch {
    throw new Mismatch(at.path, "is not a regular expression");
  }
});
