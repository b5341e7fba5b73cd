/** Links that get no preview, by their parts: `url_preview_url_blacklist`. */
import { StartupError } from "../../lib/startup_error.ts";

type Rule = readonly (readonly [part: string, pattern: RegExp])[];

/** Judges links. A rule fits when all its parts do. */
export class UrlRules {
  readonly #rules: readonly Rule[];

  constructor(rules: readonly Readonly<Record<string, string>>[]) {
    this.#rules = rules.map((rule) => Object.entries(rule).map(([part, text]) => [part, patternOf(text)] as const));
  }

  /** Tells whether the link may be previewed. */
  isAllowed(url: URL): boolean {
    return !this.#rules.some((rule) =>
      rule.length > 0 && rule.every(([part, pattern]) => fits(url, { part, pattern }))
    );
  }
}

function fits(url: URL, { part, pattern }: { part: string; pattern: RegExp }): boolean {
  const value = partOf(url, part);
  return value !== null && pattern.test(value);
}

/** Returns a part by the name Python's `urlsplit` gives it; null where the link has none. */
function partOf(url: URL, part: string): string | null {
  switch (part) {
    case "scheme":
      return url.protocol.slice(0, -1);
    case "netloc":
      return userInfoOf(url) + url.host;
    case "hostname":
      return url.hostname;
    case "port":
      return url.port === "" ? null : url.port;
    case "path":
      return url.pathname;
    case "query":
      return url.search.slice(1);
    case "fragment":
      return url.hash.slice(1);
    case "username":
      return url.username === "" ? null : url.username;
    case "password":
      return url.password === "" ? null : url.password;
    default:
      return null;
  }
}

function userInfoOf({ username, password }: URL): string {
  if (username === "" && password === "") return "";
  return password === "" ? `${username}@` : `${username}:${password}@`;
}

/** A pattern that starts with `^` is a regular expression, any other a glob. */
function patternOf(text: string): RegExp {
  try {
    if (text.startsWith("^")) return new RegExp(text);
    const glob = text.replace(/[.+^${}()|\\]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".");
    return new RegExp(`^${glob.replaceAll("[!", "[^")}$`, "s");
  } catch {
    throw new StartupError(`url_preview_url_blacklist has a pattern that cannot be used: ${JSON.stringify(text)}`);
  }
}
