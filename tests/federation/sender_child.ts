/**
 * A server in a process of its own, for tests that kill it. Arguments: database options, signing key, media folder, file of
 * the authority to trust, and in which write transaction, counted from the start, to die before the commit (0: in none).
 */
import { parse } from "yaml";
import { defaultConfig } from "../../src/config/load.ts";
import { consoleRoutes, setLogRoutes } from "../../src/lib/log.ts";
import { startServer } from "../../src/server.ts";
import { openDatabase } from "../../src/storage/open_database.ts";
import { testDns } from "./environment.ts";

await setLogRoutes(consoleRoutes("critical"));
const [options = "", signingKey = "", folder = "", authority = "", dieIn = "0"] = Deno.args;
const limits = parse(await Deno.readTextFile(new URL("../fixtures/no_rate_limits.yaml", import.meta.url)));
const config = defaultConfig("hs.test", {
  ...limits,
  enable_registration: true,
  enable_registration_without_verification: true,
  registration_shared_secret: "test-shared-secret",
  bcrypt_rounds: 4,
  signing_key: signingKey,
  media_store_path: folder,
  federation_custom_ca_list: [authority],
  ip_range_blacklist: [],
  trusted_key_servers: [],
  listeners: [{ port: 0, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client", "federation"] }] }],
});
const database = await openDatabase(JSON.parse(options), { serverName: config.serverName });
let transactions = 0;
const transaction = database.transaction.bind(database);
database.transaction = (work) =>
  transaction(async (tx) => {
    const result = await work(tx);
    if (++transactions === Number(dieIn)) Deno.kill(Deno.pid, "SIGKILL");
    return result;
  });
const server = await startServer(config, { database, dns: testDns() });
console.log(`listens on ${server.addresses[0]}`);
