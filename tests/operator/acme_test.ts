/** Certificates from a real ACME server: got by HTTP-01, renewed, kept safe, changed under open connections. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { connect, type TLSSocket } from "node:tls";
import { makeCertificate } from "../federation/certificates.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { createTestDatabase } from "../harness/databases.ts";
import { freePort } from "../harness/ports.ts";
import { type AcmeServer, startAcmeServer } from "./acme_server.ts";

const NAME = "matrix.hs.test";
const DAY_MS = 86_400_000;
const LIMIT_MS = 60_000;

let connections = 0;

/** Connects anew, as a client that trusts anybody. */
function open(port: number): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    // Under a name that was asked for before, the client would take up the old session, certificate included.
    const servername = `connection${connections++}.test`;
    const socket = connect({ port, host: "127.0.0.1", servername, rejectUnauthorized: false }, () => {
      socket.off("error", reject);
      resolve(socket);
    });
    socket.once("error", reject);
  });
}

/** Returns the certificate that a new connection is shown. */
async function shown(port: number): Promise<X509Certificate> {
  const socket = await open(port);
  const { raw } = socket.getPeerCertificate();
  socket.destroy();
  return new X509Certificate(raw);
}

/** Waits until new connections are shown a certificate like that. */
async function shownOnce(
  port: number,
  isIt: (certificate: X509Certificate) => boolean,
  { wait = () => {} }: { wait?: () => void } = {},
): Promise<X509Certificate> {
  const end = performance.now() + LIMIT_MS;
  for (;;) {
    const certificate = await shown(port);
    if (isIt(certificate)) return certificate;
    assert.ok(performance.now() < end, `still ${certificate.toString()}`);
    wait();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const isFromAcme = ({ issuer }: X509Certificate) => issuer.includes("Pebble");

/** Asks over an open connection, which stays open. */
async function ask(socket: TLSSocket, path: string): Promise<string> {
  let text = "";
  const answered = new Promise<void>((resolve, reject) => {
    const end = () => reject(new Error(`closed after ${text}`));
    socket.on("data", function read(piece) {
      text += piece;
      if (!text.endsWith("\r\n0\r\n\r\n")) return;
      socket.off("data", read);
      socket.off("close", end);
      resolve();
    });
    socket.once("close", end);
  });
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${NAME}\r\n\r\n`);
  await answered;
  return text;
}

interface SetUp {
  readonly folder: string;
  readonly port: number;
  readonly config: Readonly<Record<string, unknown>>;
}

async function setUp(server: AcmeServer, acme: Readonly<Record<string, unknown>>): Promise<SetUp> {
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-certificates-" });
  const port = freePort();
  return {
    folder,
    port,
    config: {
      public_baseurl: `https://${NAME}/`,
      listeners: [
        { port: freePort(), bind_addresses: ["127.0.0.1"], resources: [{ names: ["client"] }] },
        { port, bind_addresses: ["127.0.0.1"], tls: true, resources: [{ names: ["client"] }] },
      ],
      tls_certificate_path: `${folder}/tls.crt`,
      tls_private_key_path: `${folder}/tls.key`,
      acme: {
        ...{ enabled: true, url: server.url, ca_file: server.caFile, contact: "admin@hs.test" },
        ...{ port: server.httpPort, bind_addresses: ["127.0.0.1"], account_key_file: `${folder}/account.key` },
        ...acme,
      },
    },
  };
}

async function modeOf(path: string): Promise<number> {
  return ((await Deno.stat(path)).mode ?? 0) & 0o777;
}

testEachServer(
  "a certificate is got by HTTP-01, kept with its key for the owner only, and used again",
  async (database) => {
    await using server = await startAcmeServer();
    const { folder, port, config } = await setUp(server, {});
    await using hs = await TestServer.start({ database, config });
    const first = await shownOnce(port, isFromAcme);
    assert.equal(first.subjectAltName, `DNS:${NAME}`);
    assert.match(
      server.log,
      /Attempting to validate w\/ HTTP: http:\/\/matrix\.hs\.test:\d+\/\.well-known\/acme-challenge\//,
    );
    const file = new X509Certificate(await Deno.readTextFile(`${folder}/tls.crt`));
    assert.equal(file.fingerprint256, first.fingerprint256);
    assert.equal(await modeOf(`${folder}/tls.key`), 0o600);
    assert.equal(await modeOf(`${folder}/account.key`), 0o600);
    assert.equal((await Deno.readTextFile(`${folder}/tls.crt`)).match(/BEGIN CERTIFICATE/g)?.length, 2);
    assert.deepEqual((await Array.fromAsync(Deno.readDir(folder), (entry) => entry.name)).sort(), [
      ...["account.key", "tls.crt", "tls.key"],
    ]);
    // The port for challenges is open during an order only, and knows no others.
    await assert.rejects(Deno.connect({ hostname: "127.0.0.1", port: server.httpPort }));
    assert.equal((await hs.anyone.request("GET", "/.well-known/acme-challenge/x")).status, 404);
    await hs.restart();
    assert.equal((await shown(port)).fingerprint256, first.fingerprint256);
    await Deno.remove(folder, { recursive: true });
  },
);

Deno.test("a plain listener answers HTTP-01 where the server has no port for that of its own", async () => {
  await using server = await startAcmeServer();
  await using database = await createTestDatabase("sqlite");
  const { folder, port, config } = await setUp(server, { port: null, domain: [NAME, "hs.test"] });
  const plain = { port: server.httpPort, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client"] }] };
  const listeners = [plain, ...(config.listeners as unknown[]).slice(1)];
  await using _hs = await TestServer.start({ database, config: { ...config, listeners } });
  assert.equal((await shownOnce(port, isFromAcme)).subjectAltName, `DNS:${NAME}, DNS:hs.test`);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a certificate is renewed before it ends, and open connections go on", async () => {
  await using server = await startAcmeServer();
  await using database = await createTestDatabase("sqlite");
  const clock = new FakeClock();
  const { folder, port, config } = await setUp(server, { reprovision_threshold: 20 });
  await using _hs = await TestServer.start({ database, config, clock });
  const first = await shownOnce(port, isFromAcme);
  const connection = await open(port);
  assert.match(await ask(connection, "/_matrix/client/versions"), /^HTTP\/1\.1 200 /);
  const end = Date.parse(first.validTo);
  clock.advance(end - clock.now() - 21 * DAY_MS);
  assert.equal((await shown(port)).fingerprint256, first.fingerprint256);
  clock.advance(2 * DAY_MS);
  const second = await shownOnce(port, ({ fingerprint256 }) => fingerprint256 !== first.fingerprint256);
  assert.ok(isFromAcme(second));
  assert.notEqual(second.publicKey.export({ format: "pem", type: "spki" }), publicKeyOf(first));
  assert.match(await ask(connection, "/_matrix/client/versions"), /^HTTP\/1\.1 200 /);
  connection.destroy();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("an order that fails is tried again, and until then clients are shown what there is", async () => {
  await using server = await startAcmeServer();
  await using database = await createTestDatabase("sqlite");
  const clock = new FakeClock();
  const { folder, port, config } = await setUp(server, {});
  const acme = { ...config.acme as object, ca_file: `${folder}/ca.crt` };
  await using _hs = await TestServer.start({ database, config: { ...config, acme }, clock });
  assert.equal((await shown(port)).issuer, `CN=${NAME}`);
  await Deno.copyFile(server.caFile, `${folder}/ca.crt`);
  await shownOnce(port, isFromAcme, { wait: () => clock.advance(60_000) });
  await Deno.remove(folder, { recursive: true });
});

function publicKeyOf(certificate: X509Certificate): string | Uint8Array {
  return certificate.publicKey.export({ format: "pem", type: "spki" });
}

Deno.test("without ACME, another certificate in the files is taken over by itself, and a wrong one is not", async () => {
  await using database = await createTestDatabase("sqlite");
  const clock = new FakeClock();
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-certificates-" });
  const port = freePort();
  const write = async ({ cert, key }: { cert: string; key: string }) => {
    await Deno.writeTextFile(`${folder}/tls.key`, key);
    await Deno.writeTextFile(`${folder}/tls.crt`, cert);
  };
  const [one, two, three] = [
    await makeCertificate("DNS:one.test"),
    await makeCertificate("DNS:two.test"),
    await makeCertificate("DNS:three.test"),
  ];
  await write(one);
  const listeners = [
    { port: freePort(), bind_addresses: ["127.0.0.1"], resources: [{ names: ["client"] }] },
    { port, bind_addresses: ["127.0.0.1"], tls: true, resources: [{ names: ["client"] }] },
  ];
  const paths = { tls_certificate_path: `${folder}/tls.crt`, tls_private_key_path: `${folder}/tls.key` };
  await using _hs = await TestServer.start({ database, clock, config: { listeners, ...paths } });
  assert.equal((await shown(port)).subjectAltName, "DNS:one.test");
  const connection = await open(port);
  await write({ cert: two.cert, key: three.key });
  clock.advance(60_000);
  await write(two);
  const end = performance.now() + LIMIT_MS;
  const seen = new Set<string | undefined>();
  do {
    clock.advance(60_000);
    seen.add((await shown(port)).subjectAltName);
  } while (!seen.has("DNS:two.test") && performance.now() < end);
  assert.deepEqual([...seen].filter((name) => name !== "DNS:one.test"), ["DNS:two.test"]);
  assert.match(await ask(connection, "/_matrix/client/versions"), /^HTTP\/1\.1 200 /);
  connection.destroy();
  await Deno.remove(folder, { recursive: true });
});
