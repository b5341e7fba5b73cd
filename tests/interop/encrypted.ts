/** Encrypted messages between real clients, one at each server. */
import { enterEncryptedRoom, SdkUser } from "../clients/sdk_client.ts";
import type { TestClient } from "../harness/client.ts";
import type { SidedCheck, Sides } from "./check.ts";
import type { HomeServer } from "./servers.ts";

const MESSAGES = 10;

/** The checks. */
export const ENCRYPTED: Readonly<Record<string, SidedCheck>> = {
  "encrypted messages between matrix-js-sdk clients": chat,
};

async function chat({ host, guest, remember }: Sides): Promise<void> {
  await using alice = await SdkUser.register(host.base, "sdk-alice");
  await using bob = await SdkUser.register(guest.base, "sdk-bob");
  const roomId = await enterEncryptedRoom(alice, bob);
  remember({ roomId, users: [clientOf(alice, host), clientOf(bob, guest)] });
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

/** Returns a client with the session of the SDK's, which outlives it. */
function clientOf(user: SdkUser, server: HomeServer): TestClient {
  const [deviceId, accessToken] = [user.client.getDeviceId(), user.client.getAccessToken()];
  if (deviceId === null || accessToken === null) throw new Error(`${user.id} has no session`);
  return server.client({ userId: user.id, deviceId, accessToken, password: user.password });
}
