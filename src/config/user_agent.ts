/** What the server calls itself in requests to others. */
import { VERSION } from "../lib/version.ts";
import type { Config } from "./config.ts";

/** Returns the value of `User-Agent`, with `user_agent_suffix`. */
export function userAgentOf({ server: { userAgentSuffix } }: Pick<Config, "server">): string {
  return userAgentSuffix === null ? `synapse-ts/${VERSION}` : `synapse-ts/${VERSION} ${userAgentSuffix}`;
}
