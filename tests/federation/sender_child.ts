/** A server in a process of its own, for tests that kill it. Arguments: database options, signing key, media folder, file of the authority to trust. */
import { parse } from "yaml";
import { defaultConfig } from "../../src/config/load.ts";
import { consoleRoutes, setLogRoutes } from "../../src/lib/log.ts";
import { startServer } from "../../src/server.ts";
import { openDatabase } from "../../src/storage/open_database.ts";
import { testDns } from "./environment.ts";

await setLogRoutes(consoleRoutes("critical"));
const [options = "", signingKey = "", folder = "", authority = ""] = Deno.args;
const limits = parse(await Deno.readTextFile(new URL("../fixtures/no_rate_limits.yaml", import.meta.url)));
const config = defaultConfig("hs.test", {
  ...limits,
  enable_registration: true,
  enable_registration_without_verification: true,
  bcrypt_rounds: 4,
  signing_key: signingKey,
  media_store_path: folder,
  federation_custom_ca_list: [authority],
  ip_range_blacklist: [],
  trusted_key_servers: [],
  listeners: [{ port: 0, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client", "federation"] }] }],
});
const database = await openDatabase(JSON.parse(options), { serverName: config.serverName });
const server = await startServer(config, { database, dns: testDns() });
console.log(`listens on ${server.addresses[0]}`);
