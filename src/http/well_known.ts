/**
 * Discovery. Spec: client-server API, "Server Discovery"; server-server API, "Resolving server names".
 *   GET /.well-known/matrix/client, /.well-known/matrix/server, /.well-known/matrix/support
 */
import { notFound } from "../protocol/errors.ts";
import type { ServerName } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Mas } from "../services/mas.ts";
import { type App, plain } from "./app.ts";
import { json } from "./middleware/responses.ts";

/** Options of the configuration, by Synapse's names. */
export interface WellKnownOptions {
  /** Null unless the configuration sets it: only then is the client document served. */
  readonly publicBaseurl: string | null;
  readonly serveServerWellknown: boolean;
  readonly extraWellKnownClientContent: Readonly<JsonObject>;
  /** Where calls go, by `matrix_rtc.transports`. */
  readonly rtcTransports: readonly Readonly<JsonObject>[];
  /** The identity server that clients use unless they are told otherwise: `default_identity_server`. */
  readonly identityServer: string | null;
  /** E-mail address of whoever runs the server. */
  readonly adminContact: string | null;
}

/** What the routes are built from. */
export interface WellKnownRoutesDeps {
  readonly serverName: ServerName;
  readonly options: WellKnownOptions;
  /** The server that has the accounts; null where this one does. */
  readonly mas: Pick<Mas, "metadata"> | null;
}

/** Returns the document that tells clients where the server is, or null when it does not know itself. */
export function clientWellKnown(
  { publicBaseurl, extraWellKnownClientContent, rtcTransports, identityServer }: WellKnownOptions,
): JsonObject | null {
  if (publicBaseurl === null) return null;
  // Clients older than `/rtc/transports` (MSC4143) look here.
  const foci = rtcTransports.map((transport) => ({ ...transport }));
  return {
    ...(foci.length === 0 ? {} : { "m.rtc_foci": foci, "org.matrix.msc4143.rtc_foci": foci }),
    ...extraWellKnownClientContent,
    ...(identityServer === null ? {} : { "m.identity_server": { base_url: identityServer } }),
    "m.homeserver": { base_url: publicBaseurl },
  };
}

/** Returns the contacts of the server, or null when none are known. */
function supportWellKnown({ adminContact }: WellKnownOptions): JsonObject | null {
  if (adminContact === null) return null;
  const address = adminContact.replace(/^mailto:/i, "");
  return { contacts: [{ role: "m.role.admin", email_address: address }] };
}

/** Registers the endpoints. */
export function wellKnownRoutes(app: App, { serverName, options, mas }: WellKnownRoutesDeps): void {
  const host = serverName.replace(/:\d+$/, "");
  const documents: readonly (readonly [string, JsonObject | null])[] = [
    ["client", clientWellKnown(options)],
    ["server", options.serveServerWellknown ? { "m.server": `${host}:443` } : null],
    ["support", supportWellKnown(options)],
  ];
  for (const [name, document] of documents) {
    plain(app).get(`/.well-known/matrix/${name}`, async () => {
      if (document === null) throw notFound();
      return json(name === "client" && mas !== null ? { ...await accountServer(mas), ...document } : document);
    });
  }
}

/** Names the server that has the accounts, for clients older than `/auth_metadata` (MSC2965). */
async function accountServer(mas: Pick<Mas, "metadata">): Promise<JsonObject> {
  const { issuer = null, account_management_uri: account = null } = await mas.metadata();
  return { "org.matrix.msc2965.authentication": { issuer, account } };
}
