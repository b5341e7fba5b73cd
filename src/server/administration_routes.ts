/** Synapse's admin API for rooms, reports, federation and the server: its endpoints. */
import { reportAdminRoutes } from "../http/admin/reports.ts";
import { roomDeletionRoutes } from "../http/admin/room_deletion.ts";
import { roomAdminRoutes } from "../http/admin/rooms.ts";
import type { App } from "../http/app.ts";
import type { Auth } from "../http/middleware/auth.ts";
import type { Parts } from "./parts.ts";

/** Registers the endpoints. */
export function addAdministrationRoutes(app: App, { rooms, administration }: Parts, { auth }: { auth: Auth }): void {
  const { state, renderer } = rooms;
  roomDeletionRoutes(app, { auth, ...administration });
  reportAdminRoutes(app, { auth, ...administration });
  roomAdminRoutes(app, {
    ...{ auth, ...administration },
    stateText: async (roomId, type) => {
      const found = await state.entries(await state.currentRoot(roomId) ?? 0);
      const wanted = type === null ? found : found.filter(({ event }) => event.type === type);
      return await renderer.render(wanted, { requester: null, roomId: true, previous: false });
    },
  });
}
