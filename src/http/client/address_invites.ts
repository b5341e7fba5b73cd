/** How invitations by address are given: in `POST /invite` and in `POST /createRoom`. Spec: `Invite3pid`. */
import { z } from "zod";
import type { RoomId } from "../../protocol/ids.ts";
import type { AddressInvite } from "../../services/third_party_invites.ts";

const MAX_LENGTH = 500;
const MAX_TOKEN_LENGTH = 4096;

/** An address, and the identity server to ask for it. */
export const AddressInviteBody = z.looseObject({
  id_server: z.string().min(1).max(MAX_LENGTH),
  id_access_token: z.string().min(1).max(MAX_TOKEN_LENGTH).regex(/^[\x21-\x7e]+$/),
  medium: z.string().min(1).max(MAX_LENGTH),
  address: z.string().min(1).max(MAX_LENGTH),
});

/** Returns the invitation in our own names. */
export function toAddressInvite(roomId: RoomId, body: z.output<typeof AddressInviteBody>): AddressInvite {
  const { id_server: idServer, id_access_token: idAccessToken, medium, address } = body;
  return { roomId, idServer, idAccessToken, medium, address };
}
