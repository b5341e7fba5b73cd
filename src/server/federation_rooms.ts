/** What other servers may do in our rooms. */
import { federationRelationshipRoutes } from "../http/federation/event_relationships.ts";
import { federationMediaRoutes } from "../http/federation/media.ts";
import { federationMembershipRoutes } from "../http/federation/memberships.ts";
import { queryRoutes } from "../http/federation/queries.ts";
import { roomComplexityRoutes } from "../http/federation/room_complexity.ts";
import { roomReadRoutes } from "../http/federation/room_reads.ts";
import type { App } from "../http/app.ts";
import type { Media } from "../media/media.ts";
import { HandleMemberships } from "../rooms/handle_memberships.ts";
import { ResidentTemplates } from "../rooms/resident_templates.ts";
import { RoomHosts } from "../rooms/room_hosts.ts";
import { ServerAcls } from "../rooms/server_acls.ts";
import { ServerReads } from "../rooms/server_reads.ts";
import { ServerVisibility } from "../rooms/server_visibility.ts";
import { ServerHierarchy } from "../services/server_hierarchy.ts";
import { ServerQueries } from "../services/server_queries.ts";
import type { AccountParts } from "./accounts.ts";
import type { Core } from "./core.ts";
import type { FederationParts } from "./federation.ts";
import type { RoomParts } from "./rooms.ts";
import type { SocialParts } from "./social.ts";
import type { UserDataParts } from "./user_data.ts";

/** The parts of federation that work on rooms. */
export type FederationRoomParts = ReturnType<typeof buildFederationRooms>;

/** Builds them. */
// deno-lint-ignore explicit-module-boundary-types -- the type is what is built
export function buildFederationRooms(
  core: Core,
  { federation: { checks }, rooms, accounts, userData, social }: {
    federation: FederationParts;
    rooms: RoomParts;
    accounts: AccountParts;
    userData: UserDataParts;
    social: SocialParts;
  },
) {
  const { db, clock, signer, config } = core;
  const { events, state, heads, engine } = rooms;
  const hosts = new RoomHosts({ db, events, state });
  const acls = new ServerAcls({ state });
  const visibility = new ServerVisibility({ db, state, visibility: rooms.visibility });
  const reads = new ServerReads({ db, events, state, hosts, acls, visibility, whole: rooms.whole });
  const templates = new ResidentTemplates({ heads, state, hosts, acls, signer, clock });
  const memberships = new HandleMemberships({
    ...{ db, engine, events, state, hosts, reads },
    ...{ visibility, templates, checks, signer },
  });
  const queries = new ServerQueries({
    ...{ db, serverName: config.serverName, profiles: accounts.profiles },
    ...{ directory: userData.directory, deviceKeys: userData.deviceKeys, publicRooms: userData.publicRooms },
    options: {
      allowProfileLookup: config.federation.allowProfileLookupOverFederation,
      allowDeviceNameLookup: config.federation.allowDeviceNameLookupOverFederation,
      allowPublicRooms: config.server.allowPublicRoomsOverFederation,
    },
  });
  const hierarchy = new ServerHierarchy({ db, events, state, hosts, summaries: userData.summaries });
  const { openId } = social;
  return { hosts, acls, visibility, reads, templates, memberships, queries, hierarchy, openId };
}

/** Registers the endpoints that work on rooms, users and media. */
export function addFederationRoomRoutes(
  app: App,
  { core, federation, federationRooms, media, rooms, userData }: {
    core: Core;
    federation: FederationParts;
    federationRooms: FederationRoomParts;
    media: Media;
    rooms: Pick<RoomParts, "events" | "relationships">;
    userData: Pick<UserDataParts, "summaries">;
  },
): void {
  const { auth } = federation;
  const { relationships } = rooms;
  const { clock, db, config: { serverName, media: { enableMediaRepo } } } = core;
  const { acls, reads, visibility, templates, memberships, queries, hierarchy, openId } = federationRooms;
  roomComplexityRoutes(app, { auth, db, acls, events: rooms.events, summaries: userData.summaries });
  roomReadRoutes(app, { auth, reads, serverName, clock });
  if (relationships !== null) federationRelationshipRoutes(app, { auth, relationships, reads, visibility });
  federationMembershipRoutes(app, { auth, templates, memberships, serverName });
  queryRoutes(app, { auth, queries, hierarchy, openId });
  if (!enableMediaRepo) return;
  federationMediaRoutes(app, { auth, serverName, downloads: media.downloads, thumbnails: media.thumbnails });
}
