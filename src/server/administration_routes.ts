/** Synapse's admin API for rooms, reports, federation and the server: its endpoints. */
import { backgroundUpdateRoutes } from "../http/admin/background_updates.ts";
import { federationAdminRoutes } from "../http/admin/federation.ts";
import { reportAdminRoutes } from "../http/admin/reports.ts";
import { roomActionRoutes } from "../http/admin/room_actions.ts";
import { roomDeletionRoutes } from "../http/admin/room_deletion.ts";
import { adminRoomReadRoutes } from "../http/admin/room_reads.ts";
import { roomAdminRoutes } from "../http/admin/rooms.ts";
import { serverAdminRoutes } from "../http/admin/server.ts";
import type { App } from "../http/app.ts";
import type { Auth } from "../http/middleware/auth.ts";
import type { Parts } from "./parts.ts";

/** Registers the endpoints. */
export function addAdministrationRoutes(
  app: App,
  { core, rooms, administration, social, userData }: Parts,
  { auth }: { auth: Auth },
): void {
  const { state, renderer } = rooms;
  roomDeletionRoutes(app, { auth, ...administration });
  reportAdminRoutes(app, { auth, ...administration });
  backgroundUpdateRoutes(app, { auth, ...administration });
  federationAdminRoutes(app, { auth, ...administration });
  serverAdminRoutes(app, { auth, clock: core.clock, events: rooms.events, ...administration });
  roomActionRoutes(app, { auth, directory: userData.directory, ...administration });
  adminRoomReadRoutes(app, { auth, ...rooms, hierarchy: social.hierarchy });
  roomAdminRoutes(app, {
    ...{ auth, ...administration },
    stateText: async (roomId, type) => {
      const found = await state.entries(await state.currentRoot(roomId) ?? 0);
      const wanted = type === null ? found : found.filter(({ event }) => event.type === type);
      return await renderer.render(wanted, { requester: null, roomId: true, previous: false });
    },
  });
}
