/** A real nginx with packaging/proxy/nginx.conf in front: what it must not change, and what it must keep out. */
import assert from "node:assert/strict";
import { request } from "node:https";
import { requireProgram } from "../harness/debian.ts";
import { freePort, waitForPort } from "../harness/ports.ts";
import { RunningProcess } from "../harness/process.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const CERTIFICATE = await Deno.realPath("tests/fixtures/tls/localhost.crt");
const KEY = await Deno.realPath("tests/fixtures/tls/localhost.key");
const MEGABYTE = 1_048_576;

/** Starts nginx with the sample, changed only where it names ports, certificates and the host. */
async function startNginx(
  { folder, port, target }: { folder: string; port: number; target: string },
): Promise<RunningProcess> {
  const program = await requireProgram("nginx", "nginx-light");
  const sample = (await Deno.readTextFile("packaging/proxy/nginx.conf"))
    .replace(/^ *listen .*\n/gm, "")
    .replace("server_name ", `listen 127.0.0.1:${port} ssl http2;\n    server_name `)
    .replace(/ssl_certificate .*;/, `ssl_certificate ${CERTIFICATE};`)
    .replace(/ssl_certificate_key .*;/, `ssl_certificate_key ${KEY};`)
    .replace("http://127.0.0.1:8008", target);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");
  const config = `daemon off; master_process off; pid ${folder}/pid; error_log stderr warn;
events {}
http { access_log off; ${temporary}
${sample}
}
`;
  await Deno.writeTextFile(`${folder}/nginx.conf`, config);
  const nginx = new RunningProcess(program, { args: ["-p", folder, "-e", "stderr", "-c", `${folder}/nginx.conf`] });
  await Promise.race([
    waitForPort(port),
    nginx.exited.then((code) => assert.fail(`nginx ended with ${code}: ${nginx.stderr}`)),
  ]);
  return nginx;
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** Asks through the proxy, from an address of this machine's own choice. */
function ask(
  port: number,
  { method = "GET", path, token, body, from = "127.0.0.1", headers = {} }: {
    method?: string;
    path: string;
    token?: string;
    body?: string | Uint8Array;
    from?: string;
    headers?: Record<string, string>;
  },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const all = { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) };
    const options = {
      host: "127.0.0.1",
      port,
      method,
      path,
      headers: all,
      localAddress: from,
      rejectUnauthorized: false,
    };
    const sent = request(options, (response) => {
      const pieces: Uint8Array[] = [];
      response.on("data", (piece: Uint8Array) => pieces.push(piece));
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, body: new TextDecoder().decode(Buffer.concat(pieces)) });
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

testEachServer("nginx passes paths, uploads and addresses on, and keeps the administration in", async (database) => {
  const serverPort = freePort();
  const listener = { port: serverPort, x_forwarded: true, bind_addresses: ["127.0.0.1"] };
  const listeners = [{ ...listener, resources: [{ names: ["client", "federation"] }] }];
  await using hs = await TestServer.start({ database, config: { listeners, public_baseurl: "https://localhost/" } });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const token = alice.accessToken ?? "";
  const port = freePort();
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-nginx-" });
  await using _nginx = await startNginx({ folder, port, target: hs.base });

  // What would change if nginx decoded the path and encoded it anew.
  for (const stateKey of ["a/b", "100%", "%2F", "ü ?#", "a//../b", "+&="]) {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/state/test.key/${
      encodeURIComponent(stateKey)
    }`;
    const sent = await ask(port, { method: "PUT", path, token, body: JSON.stringify({ stateKey }) });
    assert.equal(sent.status, 200, `${stateKey}: ${sent.body}`);
    const { event_id: eventId } = JSON.parse(sent.body);
    const event = await alice.ok("GET", `/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(eventId)}`);
    assert.equal(event.state_key, stateKey);
  }

  const upload = (bytes: number) =>
    ask(port, { method: "POST", path: "/_matrix/media/v3/upload", token, body: new Uint8Array(bytes) });
  assert.equal((await upload(20 * MEGABYTE)).status, 200);
  assert.equal((await upload(51 * MEGABYTE)).status, 413);

  // The address is the one nginx saw, whatever the client claims.
  const claims = { "x-forwarded-for": "203.0.113.7" };
  const whoami = { path: "/_matrix/client/v3/account/whoami", token, from: "127.0.0.9", headers: claims };
  assert.equal((await ask(port, whoami)).status, 200);
  await hs.parts.accounts.lastSeen.flush();
  const { devices } = await alice.ok("GET", "/devices");
  assert.equal(devices[0].last_seen_ip, "127.0.0.9");

  const sync = await ask(port, { path: "/_matrix/client/v3/sync?timeout=0", token });
  const since = JSON.parse(sync.body).next_batch;
  const waiting = ask(port, { path: `/_matrix/client/v3/sync?timeout=30000&since=${since}`, token });
  await alice.sendText(roomId, "through the proxy");
  assert.match((await waiting).body, /through the proxy/);

  assert.match((await ask(port, { path: "/.well-known/matrix/client" })).body, /"m\.homeserver"/);
  for (const path of ["/_synapse/admin/v1/server_version", "/_synapse/metrics", "/health"]) {
    const { status, body } = await ask(port, { path });
    assert.deepEqual([status, body.includes("nginx")], [404, true], path);
  }
  await Deno.remove(folder, { recursive: true });
});
