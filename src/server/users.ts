/** What kinds of users there are besides those with a password: guests, and the users of application services. */
import { getLogger } from "../lib/log.ts";
import { GuestEvictions } from "../workers/guest_evictions.ts";
import type { Core } from "./core.ts";
import type { RoomParts } from "./rooms.ts";

/** The parts. */
export type UserParts = ReturnType<typeof buildUsers>;

/** Builds the parts. */
// deno-lint-ignore explicit-module-boundary-types -- the type is what is built
export function buildUsers({ db, clock }: Core, { rooms }: { rooms: RoomParts }) {
  const guestEvictions = new GuestEvictions({
    ...{ db, clock },
    log: getLogger("synapse.handlers.room_member"),
    allowsGuests: async (roomId) => {
      const content = await rooms.facts.content(roomId, "m.room.guest_access");
      return content?.guest_access === "can_join";
    },
    leave: (userId, roomId) =>
      rooms.engine.leave(
        { userId, deviceId: null, isGuest: true, isAdmin: false, isShadowBanned: false, appserviceId: null },
        { roomId },
      ),
  });
  return {
    guestEvictions,
    /** Starts what runs in the background. */
    start(): Promise<void> {
      guestEvictions.wake();
      return Promise.resolve();
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await guestEvictions[Symbol.asyncDispose]();
    },
  };
}
