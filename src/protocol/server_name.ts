/** The parts of a server name. Spec: appendices, "Server Name". */
import { isIP } from "node:net";
import type { ServerName } from "./ids.ts";

/** A server name taken apart. */
export interface ServerNameParts {
  /** A DNS name, or an IP address without brackets. */
  readonly host: string;
  /** Null where the name has none. */
  readonly port: number | null;
  readonly isIpLiteral: boolean;
}

const PORT = /:(\d{1,5})$/;

/** Splits a server name into its host and its port. */
export function splitServerName(serverName: ServerName): ServerNameParts {
  const port = PORT.exec(serverName);
  const bare = port === null ? serverName : serverName.slice(0, port.index);
  const host = bare.startsWith("[") ? bare.slice(1, -1) : bare;
  return { host, port: port === null ? null : Number(port[1]), isIpLiteral: isIP(host) !== 0 };
}
