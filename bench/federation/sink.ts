/**
 * Plays many servers that take what they are sent, and says when all have an event: for `outbound.ts`. Each has an address
 * of this machine, so that a server as anybody runs it finds them without a name server; a few share a certificate.
 */
import { CA_PATH, makeCertificate } from "../../tests/federation/certificates.ts";
import { sinkAddresses } from "./sink_addresses.ts";
import { type PeerHandler, startPeer } from "../../tests/federation/peer.ts";

const ADDRESSES_OF_CERTIFICATE = 20;
const count = Number(Deno.args[0] ?? "1000");
const seen = new Map<string, Set<string>>();
const handler: PeerHandler = ({ headers, body, url }) => {
  if (!url.includes("/send/")) return { status: 404, json: { errcode: "M_NOT_FOUND" } };
  for (const { content } of JSON.parse(body).pdus) {
    if (typeof content.body !== "string") continue;
    const servers = seen.get(content.body) ?? new Set();
    seen.set(content.body, servers.add(headers["host"] ?? ""));
    if (servers.size === count) console.log(`all have ${content.body}`);
  }
  return { json: { pdus: {} } };
};
const addresses = sinkAddresses(count);
let port = 0;
for (let start = 0; start < count; start += ADDRESSES_OF_CERTIFICATE) {
  const part = addresses.slice(start, start + ADDRESSES_OF_CERTIFICATE);
  const certificate = await makeCertificate(...part.map((address) => `IP:${address}`));
  for (const address of part) port = (await startPeer({ address, port, certificate, handler })).port;
}
console.log(`listens on ${port} by ${CA_PATH}`);
