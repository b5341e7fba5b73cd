/** The server is killed in each of the transactions that complete a room joined without its members: it always goes on. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type Account, Caller, path, TestClient } from "../harness/client.ts";
import { RunningProcess } from "../harness/process.ts";
import { testEachServer } from "../harness/server.ts";
import { type BigRoom, bigRoomHandler, makeBigRoom } from "./big_room.ts";
import { CA_PATH } from "./certificates.ts";
import { peerSigner } from "./inbound.ts";
import { startPeer } from "./peer.ts";

const MEMBERS = 700;
const OTHERS = 60;
const CHILD = new URL("sender_child.ts", import.meta.url).pathname;
/** More transactions than it takes: the members come in parts of 250. */
const MAX_KILLS = 60;

/** Starts the server and returns what `use` does with it; null when it died meanwhile. */
async function run<T>(
  { args, dieIn }: { args: readonly string[]; dieIn: number },
  use: (base: string) => Promise<T>,
): Promise<T | null> {
  await using child = new RunningProcess(Deno.execPath(), {
    args: ["run", "--no-check", "-A", "--quiet", CHILD, ...args, String(dieIn)],
  });
  const work = async () => {
    const [, base = ""] = await child.waitFor(/listens on (\S+)/, { timeoutMs: 60_000 });
    return await use(base);
  };
  const died = child.exited.then(() => null);
  return await Promise.race([died, work().catch(async (error) => dieIn > 0 ? await died : Promise.reject(error))]);
}

async function register(base: string, http: Deno.HttpClient): Promise<Account> {
  const password = "correct horse battery staple";
  const body = { username: "alice", password, auth: { type: "m.login.dummy" } };
  const session = await new Caller(base, { http, accessToken: null }).ok("POST", "/register", { body });
  const { user_id: userId, device_id: deviceId, access_token: accessToken } = session;
  return { userId, deviceId, accessToken, password };
}

async function membersOf(client: TestClient, { roomId }: BigRoom): Promise<string[]> {
  const { chunk } = await client.get(path`/rooms/${roomId}/members`);
  return chunk.map((event: { state_key: string }) => event.state_key).sort();
}

testEachServer(
  "a room without its members is completed by a server that is killed again and again",
  async (database) => {
    await using peer = await startPeer();
    const room = makeBigRoom(peerSigner(peer.port), { members: MEMBERS, others: OTHERS });
    const asked = Promise.withResolvers<void>();
    const onState = () => {
      asked.resolve();
      return new Promise<void>(() => {});
    };
    peer.handler = bigRoomHandler(room, { onState });
    const folder = await Deno.makeTempDir({ prefix: "synapse-ts-kill-" });
    const key = `ed25519 a_test ${randomBytes(32).toString("base64").replace(/=+$/, "")}`;
    const args = [JSON.stringify(database.options), key, folder, CA_PATH];
    using http = Deno.createHttpClient({});
    try {
      const account = await run({ args, dieIn: 0 }, async (base) => {
        const account = await register(base, http);
        const alice = new TestClient(base, { http, account });
        await alice.post(path`/join/${room.roomId}?via=${room.signer.serverName}`);
        await asked.promise;
        return account;
      });
      assert(account !== null);
      peer.handler = bigRoomHandler(room);
      const wanted = [...room.members.map(({ event }) => event.stateKey ?? ""), account.userId].sort();
      const clientOf = (base: string) => new TestClient(base, { http, account });
      let kills = 0;
      let members: string[] | null = null;
      for (; members === null && kills < MAX_KILLS; kills++) {
        members = await run({ args, dieIn: kills + 1 }, (base) => membersOf(clientOf(base), room));
      }
      assert.ok(kills > 3, `it was whole after ${kills} starts`);
      assert.deepEqual(members, wanted);
      const again = await run({ args, dieIn: 0 }, async (base) => {
        const sync = await clientOf(base).get("/sync");
        return { members: await membersOf(clientOf(base), room), summary: sync.rooms.join[room.roomId].summary };
      });
      assert.deepEqual(again?.members, wanted);
      assert.equal(again?.summary["m.joined_member_count"], MEMBERS + 1);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);
