import assert from "node:assert/strict";
import { freePort } from "../harness/ports.ts";
import { type CommandFolder, commandFolder } from "./command_line.ts";

async function generate(folder: CommandFolder): Promise<number> {
  const port = freePort();
  await folder.run(["generate-config", "--server-name", "localhost"]);
  const text = await folder.read("homeserver.yaml");
  await folder.write("homeserver.yaml", text.replace("port: 8008", `port: ${port}`).replaceAll("'::1', ", ""));
  return port;
}

async function isUp(port: number): Promise<boolean> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/health`);
    await answer.body?.cancel();
    return answer.ok;
  } catch {
    return false;
  }
}

Deno.test("synctl starts a server in the background once, restarts it and stops it", async () => {
  await using folder = await commandFolder();
  const port = await generate(folder);
  try {
    const started = await folder.run(["synctl", "start"]);
    assert.equal(started.stdout, "started synapse.app.homeserver(homeserver.yaml)\n", started.stderr);
    assert.equal(started.code, 0);
    assert.ok(await isUp(port));
    const first = await folder.read("homeserver.pid");
    assert.equal((await folder.run(["synctl", "start"])).stdout, "synapse.app.homeserver already running\n");
    const restarted = await folder.run(["synctl", "restart"]);
    assert.equal(
      restarted.stdout,
      "stopped synapse.app.homeserver\nWaiting for processes to exit...\nAll processes exited\n" +
        "started synapse.app.homeserver(homeserver.yaml)\n",
    );
    assert.notEqual(await folder.read("homeserver.pid"), first);
    assert.ok(await isUp(port));
  } finally {
    const stopped = await folder.run(["synctl", "stop"]);
    assert.equal(
      stopped.stdout,
      "stopped synapse.app.homeserver\nWaiting for processes to exit...\nAll processes exited\n",
    );
  }
  assert.ok(!await isUp(port));
  const again = await folder.run(["synctl", "stop"]);
  assert.equal(again.code, 0);
  assert.equal(
    again.stdout,
    `No running worker of synapse.app.homeserver found (from ${folder.path}/homeserver.pid)\n` +
      "The process might be managed by another controller (e.g. systemd)\n",
  );
});

Deno.test("synctl says why a server did not start, and how to make a configuration", async () => {
  await using folder = await commandFolder();
  const missing = await folder.run(["synctl", "start"]);
  assert.equal(missing.code, 1);
  assert.match(
    missing.stderr,
    /^Config file homeserver\.yaml does not exist\.\nTo generate a config file, run:\n {4}synapse-ts -c homeserver\.yaml --generate-config/,
  );
  await generate(folder);
  await folder.write("localhost.signing.key", "no key");
  const failed = await folder.run(["synctl", "start"]);
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /localhost\.signing\.key/);
  assert.match(
    failed.stderr,
    /synapse\.app\.homeserver\(homeserver\.yaml\) failed to start \(exit code: 1\)\. Check the log file, or run synctl with --no-daemonize\.\n$/,
  );
  const both = await folder.run(["synctl", "start", "-w", "a.yaml", "-a", "b"]);
  assert.deepEqual([both.code, both.stderr], [1, 'Cannot use "--worker" with "--all-processes"\n']);
});
