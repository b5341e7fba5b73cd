/** A real coturn takes the credentials that the server hands out, and no others. */
import assert from "node:assert/strict";
import { requireProgram } from "../harness/debian.ts";
import { freePort } from "../harness/ports.ts";
import { RunningProcess } from "../harness/process.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { allocate } from "./turn_client.ts";

/** Runs coturn with some arguments while `work` runs. */
async function withCoturn(args: readonly string[], work: (port: number) => Promise<void>): Promise<void> {
  const program = await requireProgram("turnserver", "coturn");
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-turn-" });
  const port = freePort();
  await using _coturn = new RunningProcess(program, {
    args: [
      ...["-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", `--listening-port=${port}`, "--realm=hs.test"],
      ...["--no-tls", "--no-dtls", "--no-cli", "--no-rfc5780", "--log-file=stdout", `--pidfile=${folder}/pid`],
      ...[`--userdb=${folder}/users`, ...args],
    ],
  });
  await work(port);
  await Deno.remove(folder, { recursive: true });
}

testEachServer("coturn allocates for credentials made from the shared secret", async (database) => {
  await withCoturn(["--use-auth-secret", "--static-auth-secret=s3cret"], async (port) => {
    const uri = `turn:127.0.0.1:${port}?transport=udp`;
    await using hs = await TestServer.start({ database, config: { turn_uris: [uri], turn_shared_secret: "s3cret" } });
    const [alice] = await hs.register("alice");
    const { username, password, uris } = await alice.get("/voip/turnServer");
    assert.deepEqual(uris, [uri]);
    const allocation = await allocate(port, { username, password });
    assert.ok("port" in allocation && allocation.port > 0, JSON.stringify(allocation));
    assert.deepEqual(await allocate(port, { username, password: `${password}x` }), { error: 401 });
    await hs.restart({ turn_shared_secret: "another" });
    const wrong = await hs.again(alice).get("/voip/turnServer");
    assert.deepEqual(await allocate(port, wrong), { error: 401 });
  });
});

testEachServer("coturn allocates for the fixed user of the configuration", async (database) => {
  await withCoturn(["--lt-cred-mech", "--user=matrix:secret"], async (port) => {
    const config = { turn_uris: [`turn:127.0.0.1:${port}`], turn_username: "matrix", turn_password: "secret" };
    await using hs = await TestServer.start({ database, config });
    const [alice] = await hs.register("alice");
    const allocation = await allocate(port, await alice.get("/voip/turnServer"));
    assert.ok("port" in allocation, JSON.stringify(allocation));
  });
});
