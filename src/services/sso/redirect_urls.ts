/** Where clients want to have their users back. */
import { invalidParam } from "../../protocol/errors.ts";

const MAX_LENGTH = 2_048;
/** What a browser would run or open in the place of a page. */
const UNSAFE_SCHEMES: ReadonlySet<string> = new Set([
  "about:",
  "blob:",
  "data:",
  "file:",
  "filesystem:",
  "javascript:",
  "vbscript:",
  "view-source:",
]);

/** Throws 400 for what is no address that a browser may be sent to. */
export function assertRedirectUrl(text: string): void {
  if (text.length > MAX_LENGTH) throw invalidParam('"redirectUrl" is too long');
  const url = URL.canParse(text) ? new URL(text) : null;
  // Line breaks and the like are dropped by browsers and would make what is shown differ from where it leads.
  // deno-lint-ignore no-control-regex -- just those
  if (url === null || UNSAFE_SCHEMES.has(url.protocol) || /[\u0000-\u0020\u007f]/.test(text)) {
    throw invalidParam('"redirectUrl" is not the address of a client');
  }
}

/** Returns the address with a login token beside what its query has. */
export function withLoginToken(text: string, token: string): string {
  const url = new URL(text);
  url.searchParams.append("loginToken", token);
  return url.href;
}

/** Returns an address as people read it: the host of a web site, or all without query. */
export function displayUrl(text: string): string {
  const url = new URL(text);
  return url.protocol === "https:" ? url.host : `${url.protocol}//${url.host}${url.pathname}`;
}

/**
 * Tells whether one of the trusted prefixes covers an address. A prefix of a web site never reaches beyond its host:
 * `https://app.example` is not `https://app.example.evil`, which for Synapse it is
 * (https://element-hq.github.io/synapse/latest/usage/configuration/config_documentation.html#sso).
 */
export function isTrustedUrl(text: string, prefixes: readonly string[]): boolean {
  return prefixes.some((prefix) => {
    if (prefix === "" || !text.startsWith(prefix)) return false;
    if (!/^https?:/i.test(prefix)) return true;
    return URL.canParse(prefix) && new URL(prefix).origin === new URL(text).origin;
  });
}
