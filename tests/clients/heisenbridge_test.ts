/** A real application service, heisenbridge, bridges to IRC: its bot, its ghosts and the rooms that it makes. */
import assert from "node:assert/strict";
import { DIALECTS } from "../harness/databases.ts";
import { freePort } from "../harness/ports.ts";
import { RunningProcess, runProcess } from "../harness/process.ts";
import { IrcServer } from "./irc_server.ts";
import { pythonWith } from "../harness/python.ts";
import { SdkUser } from "./sdk_client.ts";
import { ServerProcess } from "./server_process.ts";

const BOT = "@heisenbridge:localhost";

/** Waits for an invitation of the bridge to a room of this name, and accepts it. */
async function entersRoom(alice: SdkUser, name: string): Promise<string> {
  const invited = await alice.until(
    `the invitation to ${name}`,
    () => alice.client.getRooms().find((room) => room.getMyMembership() === "invite" && room.name.includes(name)),
  );
  await alice.client.joinRoom(invited.roomId);
  await alice.until(`being in ${name}`, () => invited.getMyMembership() === "join");
  return invited.roomId;
}

for (const dialect of DIALECTS) {
  Deno.test({
    name: `heisenbridge bridges a channel of IRC [${dialect}]`,
    // The cryptography of matrix-js-sdk keeps timers of its own.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      const python = await pythonWith("heisenbridge", { folder: "tests/clients" });
      const folder = await Deno.makeTempDir({ prefix: "synapse-ts-heisenbridge-" });
      const registration = `${folder}/registration.yaml`;
      const args = ["-m", "heisenbridge", "-c", registration, "-l", "127.0.0.1", "-p", String(freePort())];
      const generated = await runProcess(python, { args: [...args, "--generate"] });
      assert.equal(generated.code, 0, generated.stderr);
      await using irc = await IrcServer.start();
      await using server = await ServerProcess.start(dialect, { app_service_config_files: [registration] });
      await using alice = await SdkUser.register(server.base, "alice");
      await using bridge = new RunningProcess(python, { args: ["-u", ...args, "-v", "-o", alice.id, server.base] });
      await bridge.waitFor(/bridge is now running/i);
      await chat({ alice, irc });
      await Deno.remove(folder, { recursive: true });
    },
  });
}

async function chat({ alice, irc }: { alice: SdkUser; irc: IrcServer }): Promise<void> {
  const { client } = alice;
  const { room_id: control } = await client.createRoom({ invite: [BOT], is_direct: true });
  await alice.until("the bot's join", () => client.getRoom(control)?.getMember(BOT)?.membership === "join");
  await client.sendTextMessage(control, "ADDNETWORK test");
  await client.sendTextMessage(control, `ADDSERVER test 127.0.0.1 ${irc.port}`);
  await client.sendTextMessage(control, "OPEN test");
  const network = await entersRoom(alice, "test");
  await client.sendTextMessage(network, "NICK alice");
  await client.sendTextMessage(network, "CONNECT");
  await irc.hears(/^USER /);
  await client.sendTextMessage(network, "JOIN #channel");
  const channel = await entersRoom(alice, "#channel");
  irc.say("dora", { channel: "#channel", text: "hello from IRC" });
  await alice.until("what was said on IRC", () => alice.texts(channel).includes("hello from IRC"));
  const ghost = client.getRoom(channel)?.getMembers().find(({ userId }) => userId.startsWith("@irc_test_dora"));
  assert.equal(ghost?.membership, "join");
  await client.sendTextMessage(channel, "hello from Matrix");
  await irc.hears(/^PRIVMSG #channel :hello from Matrix$/);
}
