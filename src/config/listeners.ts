/** The option `listeners`: where the server listens and for what. */
import {
  anything,
  boolean,
  integer,
  list,
  listOrOne,
  mapped,
  Mismatch,
  nullable,
  object,
  oneOf,
  option,
  type Options,
  record,
  type Schema,
  string,
  type Values,
  works,
} from "./schema.ts";

/** What a listener of type `http` may serve. */
export const RESOURCE_NAMES = [
  "client",
  "consent",
  "federation",
  "health",
  "keys",
  "media",
  "metrics",
  "openid",
  "replication",
  "static",
] as const;

/** One of the things a listener may serve. */
export type ResourceName = typeof RESOURCE_NAMES[number];

const RESOURCE = {
  names: option(listOrOne(oneOf(RESOURCE_NAMES)), []),
  compress: option(boolean, false),
};

const LISTENER = {
  port: option(nullable(integer({ max: 65535 })), null),
  tag: option(nullable(string), null),
  bind_address: option(nullable(string), null),
  bind_addresses: option(nullable(list(string)), null),
  type: option(oneOf(["http", "metrics", "manhole"]), "http"),
  tls: option(boolean, false),
  x_forwarded: option(boolean, false),
  request_id_header: option(nullable(string), null),
  resources: option(list(object(RESOURCE)), []),
  additional_resources: option(record(anything), {}),
  path: option(nullable(string), null),
  mode: option(integer({ max: 0o7777 }), 0o666),
} satisfies Options;

/** One listening socket of the server: TCP where `port` is set, else the UNIX socket `path`. */
export interface ListenerConfig {
  readonly port: number | null;
  /** Addresses for `port`; `::` also takes IPv4 where the system allows it, so `0.0.0.0` after it may be in use. */
  readonly bindAddresses: readonly string[];
  readonly path: string | null;
  /** Permissions of the UNIX socket. */
  readonly mode: number;
  readonly type: "http" | "metrics" | "manhole";
  readonly tls: boolean;
  readonly xForwarded: boolean;
  /** Name in logs in place of the port. */
  readonly tag: string | null;
  readonly requestIdHeader: string | null;
  readonly resources: readonly { readonly names: readonly ResourceName[]; readonly compress: boolean }[];
}

const listener: Schema<ListenerConfig> = mapped(object(LISTENER), (given, at) => {
  if (given.port === undefined || given.path === undefined) return toListener(given);
  if ((given.port === null) === (given.path === null)) {
    throw new Mismatch(at.path, 'must have either "port" or "path"');
  }
  if (given.path !== null && given.tls) throw new Mismatch([...at.path, "tls"], "cannot be true on a UNIX socket");
  return toListener(given);
});

function toListener(given: Values<typeof LISTENER>): ListenerConfig {
  const listed = given.bindAddresses ?? [];
  const addresses = given.bindAddress === null ? listed : [given.bindAddress, ...listed];
  return {
    port: given.port,
    bindAddresses: given.port === null ? [] : addresses.length > 0 ? addresses : ["::", "0.0.0.0"],
    path: given.path,
    mode: asPermissions(given.mode),
    type: given.type,
    tls: given.tls,
    xForwarded: given.xForwarded,
    tag: given.tag,
    requestIdHeader: given.requestIdHeader,
    resources: given.resources,
  };
}

/** Takes `660`, which YAML reads as a decimal number, for the octal one that was meant. */
function asPermissions(mode: number): number {
  return mode > 0o777 && /^[0-7]+$/.test(String(mode)) ? Number.parseInt(String(mode), 8) : mode;
}

/** The table of the section. */
export const LISTENER_OPTIONS = {
  listeners: option(
    list(listener),
    [],
    works("Where the server listens, and what it serves there. Only listeners without TLS have `compress`."),
  ),
};
