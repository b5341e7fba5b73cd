/** Several whole servers that reach each other over TLS on loopback. */
import { createTestDatabase, DIALECTS, type TestDatabase } from "../harness/databases.ts";
import { freePort } from "../harness/ports.ts";
import { TestServer } from "../harness/server.ts";
import { CA_PATH, makeCertificate } from "./certificates.ts";
import { testDns } from "./environment.ts";

/** A server with its name, which has the port in it. */
export interface NetworkServer {
  readonly name: string;
  readonly hs: TestServer;
  /** Stops the server and starts it again on the same database and port. */
  restart(): Promise<void>;
  /** Stops the server for good. */
  stop(): Promise<void>;
}

/** Servers that can talk to each other. */
export interface TestNetwork extends AsyncDisposable {
  readonly servers: readonly [NetworkServer, NetworkServer];
}

/** Registers one test per dialect with two servers. */
export function testNetwork(name: string, body: (network: TestNetwork) => Promise<void>): void {
  testConfiguredNetwork({ name, config: {} }, body);
}

/** As `testNetwork`; `config` adds to the configuration of both. */
export function testConfiguredNetwork(
  { name, config }: { name: string; config: Record<string, unknown> },
  body: (network: TestNetwork) => Promise<void>,
): void {
  for (const dialect of DIALECTS) {
    Deno.test(`${name} [${dialect}]`, async () => {
      await using one = await createTestDatabase(dialect);
      await using two = await createTestDatabase(dialect);
      await using network = await startNetwork([one, two], config);
      await body(network);
    });
  }
}

async function startNetwork(
  [one, two]: readonly [TestDatabase, TestDatabase],
  config: Record<string, unknown>,
): Promise<TestNetwork> {
  const servers = [
    await startOne(one, { host: "hs1.test", config }),
    await startOne(two, { host: "hs2.test", config }),
  ] as const;
  return {
    servers: [servers[0], servers[1]],
    async [Symbol.asyncDispose]() {
      for (const { stop } of servers) await stop();
    },
  };
}

async function startOne(
  database: TestDatabase,
  { host, config }: { host: string; config: Record<string, unknown> },
): Promise<NetworkServer> {
  const port = freePort();
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-net-" });
  const { cert, key } = await makeCertificate(`DNS:${host}`);
  await Deno.writeTextFile(`${folder}/tls.crt`, cert);
  await Deno.writeTextFile(`${folder}/tls.key`, key);
  const name = `${host}:${port}`;
  const hs = await TestServer.start({
    database,
    serverName: name,
    dns: testDns(),
    config: {
      tls_certificate_path: `${folder}/tls.crt`,
      tls_private_key_path: `${folder}/tls.key`,
      federation_custom_ca_list: [CA_PATH],
      ip_range_blacklist: [],
      trusted_key_servers: [],
      allow_public_rooms_over_federation: true,
      ...config,
      listeners: [
        { port: 0, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client", "metrics"] }] },
        { port, tls: true, bind_addresses: ["127.0.0.1"], resources: [{ names: ["federation"] }] },
      ],
    },
  });
  let stopped: Promise<void> | null = null;
  return {
    name,
    hs,
    restart: () => hs.restart(),
    async stop() {
      stopped ??= hs[Symbol.asyncDispose]().then(() => Deno.remove(folder, { recursive: true }));
      await stopped;
    },
  };
}
