/** A client of another code base, matrix-nio, talks encrypted with its like and with matrix-js-sdk. */
import assert from "node:assert/strict";
import { DIALECTS } from "../harness/databases.ts";
import { NioUser } from "./nio_client.ts";
import { SdkUser } from "./sdk_client.ts";
import { ServerProcess } from "./server_process.ts";

for (const dialect of DIALECTS) {
  Deno.test({
    name: `matrix-nio clients and a matrix-js-sdk client chat encrypted [${dialect}]`,
    // The cryptography of matrix-js-sdk keeps timers of its own.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await using server = await ServerProcess.start(dialect);
      await using alice = await NioUser.register(server.base, "alice");
      await using bob = await NioUser.register(server.base, "bob");
      await using carol = await SdkUser.register(server.base, "carol");
      const roomId = await alice.createRoom([bob.id, carol.id]);
      await bob.join(roomId);
      await carol.until("the invitation", () => carol.client.getRoom(roomId)?.getMyMembership() === "invite");
      await carol.client.joinRoom(roomId);
      await carol.until("the join", () => carol.client.getRoom(roomId)?.hasEncryptionStateEvent());
      for (const user of [alice, bob]) await user.knows(roomId, [alice.id, bob.id, carol.id]);
      await chat(roomId, { nio: [alice, bob], carol });
      for (const user of [alice, bob]) assert.deepEqual(await user.quit(), []);
    },
  });
}

async function chat(
  roomId: string,
  { nio, carol }: { nio: readonly NioUser[]; carol: SdkUser },
): Promise<void> {
  for (let round = 0; round < 3; round++) {
    for (const speaker of nio) {
      const body = `${speaker.id} says ${round}`;
      const eventId = await speaker.say(roomId, body);
      for (const listener of nio) await listener.hears(roomId, { sender: speaker.id, body });
      await carol.until(`"${body}"`, () => carol.texts(roomId).includes(body));
      const event = carol.client.getRoom(roomId)?.findEventById(eventId);
      assert.equal(event?.isEncrypted(), true);
    }
    const body = `carol says ${round}`;
    await carol.client.sendTextMessage(roomId, body);
    for (const listener of nio) await listener.hears(roomId, { sender: carol.id, body });
  }
}
