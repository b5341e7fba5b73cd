/** Plays many servers that take what they are sent, and says when all have an event: for `outbound.ts`. */
import { CA_PATH } from "../../tests/federation/certificates.ts";
import { sinkAddresses } from "./sink_addresses.ts";
import { startPeer } from "../../tests/federation/peer.ts";

const count = Number(Deno.args[0] ?? "1000");
const seen = new Map<string, Set<string>>();
const peer = await startPeer({
  // As many addresses of this machine: a server as anybody runs it finds them without a name server.
  names: sinkAddresses(count).map((address) => `IP:${address}`),
  address: "0.0.0.0",
  handler: ({ headers, body, url }) => {
    if (!url.includes("/send/")) return { status: 404, json: { errcode: "M_NOT_FOUND" } };
    for (const { content } of JSON.parse(body).pdus) {
      if (typeof content.body !== "string") continue;
      const servers = seen.get(content.body) ?? new Set();
      seen.set(content.body, servers.add(headers["host"] ?? ""));
      if (servers.size === count) console.log(`all have ${content.body}`);
    }
    return { json: { pdus: {} } };
  },
});
console.log(`listens on ${peer.port} by ${CA_PATH}`);
