/** Encrypted messages between real clients, one at each server. */
import { enterEncryptedRoom, SdkUser } from "../clients/sdk_client.ts";
import type { SidedCheck, Sides } from "./check.ts";

const MESSAGES = 10;

/** The checks. */
export const ENCRYPTED: Readonly<Record<string, SidedCheck>> = {
  "encrypted messages between matrix-js-sdk clients": chat,
};

async function chat({ host, guest }: Sides): Promise<void> {
  await using alice = await SdkUser.register(host.base, "sdk-alice");
  await using bob = await SdkUser.register(guest.base, "sdk-bob");
  const roomId = await enterEncryptedRoom(alice, bob);
  const sent: string[] = [];
  for (let index = 0; index < MESSAGES; index++) {
    for (const user of [alice, bob]) {
      const body = `${index} from ${user.id}`;
      await user.client.sendTextMessage(roomId, body);
      sent.push(body);
    }
  }
  for (const user of [alice, bob]) {
    const hasAll = () => sent.every((body) => user.texts(roomId).includes(body));
    await user.until("all messages, decrypted", hasAll);
    const shown = user.events(roomId).filter((event) => event.getType() === "m.room.message");
    if (shown.some((event) => !event.isEncrypted())) throw new Error("A message was sent in clear");
  }
}
