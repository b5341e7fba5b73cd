/** Certificates from files in `dist/synapse-ts`: its runtime may be older than the pinned Deno and know less of them. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { connect, type TLSSocket } from "node:tls";
import { CA_PATH, CA_PEM, makeCertificate } from "../federation/certificates.ts";
import { freePort } from "../harness/ports.ts";
import { newSite } from "./site.ts";

const WAIT_MS = 30_000;

function open(port: number): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => resolve(socket));
    socket.once("error", reject);
  });
}

/** The bytes of the certificate that a new connection is shown. */
async function shown(port: number): Promise<string> {
  const socket = await open(port);
  const { raw } = socket.getPeerCertificate();
  socket.destroy();
  return Buffer.from(raw).toString("base64");
}

function bytesOf(pem: string): string {
  return pem.replace(/-----[A-Z ]+-----|\n/g, "");
}

/** Asks over an open connection, which stays open; "closed" where it was closed. */
function ask(socket: TLSSocket): Promise<string> {
  return new Promise((resolve) => {
    if (socket.destroyed) return resolve("closed");
    let text = "";
    socket.on("data", (piece) => {
      text += piece;
      if (/\r\n\r\n[^]*OK/.test(text)) resolve(text);
    });
    socket.once("close", () => resolve(text === "" ? "closed" : text));
    socket.once("error", () => resolve("closed"));
    socket.write("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
  });
}

Deno.test("the executable serves a chain from its files, takes over another on SIGHUP, and its doctor reads both", async () => {
  await using site = await newSite();
  const [first, second] = [await makeCertificate("DNS:*.example.org"), await makeCertificate("DNS:else.test")];
  await Deno.writeTextFile(site.path("tls.crt"), `${first.cert}${CA_PEM}`);
  await Deno.writeTextFile(site.path("tls.key"), first.key);
  const port = freePort();
  await site.generateConfig({
    public_baseurl: "https://matrix.example.org/",
    trusted_key_servers: [],
    federation_custom_ca_list: [CA_PATH],
    pid_file: site.path("homeserver.pid"),
    listeners: [{ port, bind_addresses: ["127.0.0.1"], type: "http", tls: true, resources: [{ names: ["client"] }] }],
    tls_certificate_path: site.path("tls.crt"),
    tls_private_key_path: site.path("tls.key"),
  });
  await site.serve();
  equal(await shown(port), bytesOf(first.cert));
  const kept = await open(port);
  match(await ask(kept), /^HTTP\/1\.1 200 /);

  const certificateLines = async () => {
    const { stdout, stderr } = await site.run(["doctor", "-c", "homeserver.yaml", "-c", "port.yaml"]);
    equal(/not implemented/i.test(stdout + stderr), false, stdout + stderr);
    return stdout.split("\n").filter((line) => /^\w+ +certificate: /.test(line)).map((line) => line.replace(/ +/, " "));
  };
  deepEqual((await certificateLines()).slice(1), [
    "ok certificate: it is for matrix.example.org",
    "ok certificate: a chain of 2",
  ]);

  await Deno.writeTextFile(site.path("tls.crt"), second.cert);
  match((await certificateLines()).join("\n"), /^fail certificate: the key in .* is not the certificate's$/m);
  await Deno.writeTextFile(site.path("tls.key"), second.key);
  Deno.kill(Number(await Deno.readTextFile(site.path("homeserver.pid"))), "SIGHUP");
  const end = performance.now() + WAIT_MS;
  while (await shown(port).catch(() => "") !== bytesOf(second.cert)) {
    ok(performance.now() < end, "the old one is shown");
  }
  // Where the runtime cannot change the certificate of a listener, its unused connections are closed, not left waiting.
  match(await ask(kept), /^HTTP\/1\.1 200 |^closed$/);
  kept.destroy();
  equal(await site.stop(), 0);
});
