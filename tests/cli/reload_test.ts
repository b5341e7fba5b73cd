import assert from "node:assert/strict";
import { connect } from "node:tls";
import { makeCertificate } from "../federation/certificates.ts";
import { AS_TOKEN, TestAppservice } from "../harness/appservice.ts";
import { freePort } from "../harness/ports.ts";
import { RunningProcess } from "../harness/process.ts";
import { commandFolder, programArgs } from "./command_line.ts";

let connections = 0;

/** Returns the names in the certificate that a new connection is shown. */
function certificateNames(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    // Under a name that was asked for before, the client would take up the old session, certificate included.
    const servername = `connection${connections++}.test`;
    const socket = connect({ port, host: "127.0.0.1", servername, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().subjectaltname ?? "");
      socket.destroy();
    });
    socket.once("error", reject);
  });
}

Deno.test("SIGHUP takes over rate limits, certificates, application services and the log configuration", async () => {
  await using folder = await commandFolder();
  await using service = await TestAppservice.start();
  const [port, tlsPort] = [freePort(), freePort()];
  await folder.run(["generate-config", "--server-name", "hs.test"]);
  const settings = (extra: string) => `
listeners:
  - { port: ${port}, bind_addresses: [127.0.0.1], resources: [{ names: [client] }] }
  - { port: ${tlsPort}, bind_addresses: [127.0.0.1], tls: true, resources: [{ names: [client] }] }
tls_certificate_path: ${folder.path}/tls.crt
tls_private_key_path: ${folder.path}/tls.key
${extra}`;
  const useCertificate = async (name: string) => {
    const { cert, key } = await makeCertificate(name);
    await folder.write("tls.crt", cert);
    await folder.write("tls.key", key);
  };
  const call = async (path: string, body?: unknown) => {
    const init = body === undefined
      ? { headers: { authorization: `Bearer ${AS_TOKEN}` } }
      : { method: "POST", body: JSON.stringify(body) };
    const answer = await fetch(`http://127.0.0.1:${port}/_matrix/client/v3${path}`, init);
    await answer.body?.cancel();
    return answer.status;
  };
  const login = () =>
    call("/login", { type: "m.login.password", identifier: { type: "m.id.user", user: "x" }, password: "y" });
  const slow = "rc_login: { address: { per_second: 0.0001, burst_count: 1 } }\n";
  await folder.write("test.yaml", settings(slow));
  await useCertificate("DNS:one.test");
  const args = programArgs(["serve", "-c", "homeserver.yaml", "-c", "test.yaml"]);
  await using server = new RunningProcess(Deno.execPath(), { args, cwd: folder.path, env: { NO_COLOR: "1" } });
  await server.waitFor(/serves hs\.test on/);
  const reload = async (count: number, line: RegExp) => {
    server.signal("SIGHUP");
    const log = async () =>
      (await folder.read("homeserver.log").catch(() => "")).match(new RegExp(line, "g"))?.length ?? 0;
    const end = performance.now() + 20_000;
    while (await log() < count && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(await log(), count, await folder.read("homeserver.log"));
  };
  assert.equal(await login(), 403);
  assert.equal(await login(), 429);
  assert.equal(await call("/account/whoami"), 401);
  assert.equal(await certificateNames(tlsPort), "DNS:one.test");

  const fast = "rc_login: { address: { per_second: 100, burst_count: 100 } }\n";
  await folder.write(
    "test.yaml",
    settings(`${fast}app_service_config_files: [${service.file}]\ncaches: { global_factor: 0.1 }\n`),
  );
  await useCertificate("DNS:two.test");
  await reload(1, /Configuration reloaded/);
  assert.equal(await login(), 403);
  assert.equal(await call("/account/whoami"), 200);
  assert.equal(await certificateNames(tlsPort), "DNS:two.test");

  await folder.write("test.yaml", settings("rc_login: 7\n"));
  await reload(1, /The configuration cannot be reloaded/);
  assert.equal(await login(), 403);
  assert.equal(await call("/account/whoami"), 200);

  const logConfig = await folder.read("hs.test.log.config");
  await folder.write("hs.test.log.config", logConfig.replace("homeserver.log", "other.log"));
  await folder.write("test.yaml", settings(fast));
  server.signal("SIGHUP");
  const end = performance.now() + 20_000;
  while (await call("/account/whoami") !== 401 && performance.now() < end);
  assert.equal(await call("/account/whoami"), 401);
  assert.equal(await server.stop(), 0);
  assert.match(await folder.read("other.log"), /Server stopped/);
});
