/** A real ACME server, Let's Encrypt's Pebble, with the resolver it comes with: every name leads to 127.0.0.1. */
import { fail } from "node:assert/strict";
import { CA_PATH, makeCertificate } from "../federation/certificates.ts";
import { requireGoProgram } from "../harness/go.ts";
import { freePort, waitForPort } from "../harness/ports.ts";
import { RunningProcess } from "../harness/process.ts";

const VERSION = "v2.10.3";
const MODULE = "github.com/letsencrypt/pebble/v2/cmd";

/** A running ACME server. */
export interface AcmeServer extends AsyncDisposable {
  /** Its directory. */
  readonly url: string;
  /** The authority of its own certificate. */
  readonly caFile: string;
  /** Where it looks for HTTP-01 answers. */
  readonly httpPort: number;
  /** Everything it wrote. */
  readonly log: string;
}

/** Starts one. */
export async function startAcmeServer(): Promise<AcmeServer> {
  const [pebble, resolver] = await Promise.all(["pebble", "pebble-challtestsrv"].map((name) => {
    return requireGoProgram({ name, package: `${MODULE}/${name}`, version: VERSION });
  }));
  if (pebble === undefined || resolver === undefined) fail("there is no ACME server");
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-acme-" });
  const [port, managementPort, httpPort, tlsPort, dnsPort] = [1, 2, 3, 4, 5].map(() => freePort());
  const { cert, key } = await makeCertificate("IP:127.0.0.1");
  await Deno.writeTextFile(`${folder}/tls.crt`, cert);
  await Deno.writeTextFile(`${folder}/tls.key`, key);
  const config = {
    listenAddress: `127.0.0.1:${port}`,
    managementListenAddress: `127.0.0.1:${managementPort}`,
    certificate: `${folder}/tls.crt`,
    privateKey: `${folder}/tls.key`,
    httpPort,
    tlsPort,
    retryAfter: { authz: 1, order: 1 },
  };
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify({ pebble: config }));
  const dns = new RunningProcess(resolver, {
    args: [
      ...["-dnsserver", `127.0.0.1:${dnsPort}`, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""],
      ...["-management", `127.0.0.1:${freePort()}`],
      ...["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""],
    ],
  });
  const server = new RunningProcess(pebble, {
    args: ["-config", `${folder}/config.json`, "-dnsserver", `127.0.0.1:${dnsPort}`],
    // It validates at once, each time anew, and refuses one request in ten for its nonce, as the protocol allows.
    env: { PEBBLE_VA_NOSLEEP: "1", PEBBLE_AUTHZREUSE: "0", PEBBLE_WFE_NONCEREJECT: "10" },
  });
  await Promise.all([waitForPort(port ?? 0), waitForPort(dnsPort ?? 0)]);
  return {
    url: `https://127.0.0.1:${port}/dir`,
    caFile: CA_PATH,
    httpPort: httpPort ?? 0,
    get log() {
      return server.stdout + server.stderr;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([server.kill(), dns.kill()]);
      await Deno.remove(folder, { recursive: true });
    },
  };
}
