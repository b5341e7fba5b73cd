/** Which servers may take part in a room. Spec: client-server API, "Server Access Control Lists (ACLs) for rooms". */
import { matchesGlob } from "./glob.ts";
import type { ServerName } from "./ids.ts";
import type { JsonObject, JsonValue } from "./json.ts";
import { splitServerName } from "./server_name.ts";

/** An `m.room.server_acl`, ready to be asked often. */
export interface ServerAcl {
  readonly allow: readonly string[];
  readonly deny: readonly string[];
  readonly allowIpLiterals: boolean;
}

/** Reads the content of an `m.room.server_acl`. What is not as it should be counts as missing. */
export function parseServerAcl(content: Readonly<JsonObject>): ServerAcl {
  return {
    allow: globs(content["allow"]),
    deny: globs(content["deny"]),
    allowIpLiterals: content["allow_ip_literals"] !== false,
  };
}

/** Tells whether the ACL lets a server in; `null` stands for a room without one. Ports do not count. */
export function isServerAllowed(serverName: ServerName, acl: ServerAcl | null): boolean {
  if (acl === null) return true;
  const { host, isIpLiteral } = splitServerName(serverName);
  if (isIpLiteral && !acl.allowIpLiterals) return false;
  const name = host.includes(":") ? `[${host}]` : host;
  const matches = (glob: string) => matchesGlob(name, glob);
  return !acl.deny.some(matches) && acl.allow.some(matches);
}

function globs(value: JsonValue | undefined): readonly string[] {
  return Array.isArray(value) ? value.filter((glob) => typeof glob === "string") : [];
}
