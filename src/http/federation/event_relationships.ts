/**
 * Threads of any depth, for other servers (MSC2836).
 *   POST /_matrix/federation/unstable/event_relationships
 */
import type { Relationships } from "../../rooms/relationships.ts";
import type { ServerReads } from "../../rooms/server_reads.ts";
import type { ServerVisibility } from "../../rooms/server_visibility.ts";
import type { App } from "../app.ts";
import { threadQueryOf } from "../client/event_relationships.ts";
import { jsonText } from "../middleware/responses.ts";
import { type FederationAuth, signed } from "./signed.ts";

/** What the route is built from. */
export interface EventRelationshipRoutesDeps {
  readonly auth: FederationAuth;
  readonly relationships: Relationships;
  readonly reads: ServerReads;
  readonly visibility: ServerVisibility;
}

/** Registers the endpoint. */
export function federationRelationshipRoutes(
  app: App,
  { auth, relationships, reads, visibility }: EventRelationshipRoutesDeps,
): void {
  signed(app, auth).post("/unstable/event_relationships", async (_, { origin, body }) => {
    return jsonText(await relationships.forServer(origin, { query: threadQueryOf(body), reads, visibility }));
  });
}
