/**
 * Keys: our own, and those of others as a notary. Spec: server-server API, "Retrieving server keys".
 *   GET  /_matrix/key/v2/server
 *   GET  /_matrix/key/v2/query/{serverName}
 * Both also with a key id at the end, or an empty one, as before version 1.6: all keys are the answer even so.
 *   POST /_matrix/key/v2/query
 */
import { z } from "zod";
import type { LocalKeys } from "../../federation/local_keys.ts";
import type { KeyNotary, NotaryQuery } from "../../federation/notary.ts";
import type { Clock } from "../../lib/clock.ts";
import { invalidParam } from "../../protocol/errors.ts";
import { parseServerName } from "../../protocol/ids.ts";
import { type App, type Ctx, plain } from "../app.ts";
import { readJson } from "../middleware/body.ts";
import { intParam, pathIds, query } from "../middleware/params.ts";
import { json, jsonText } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface KeyRoutesDeps {
  readonly localKeys: LocalKeys;
  readonly notary: KeyNotary;
  readonly clock: Clock;
}

const MAX_SERVERS = 500;
const MAX_KEY_IDS = 64;

const Validity = z.object({ minimum_valid_until_ts: intParam().optional() });
const Criteria = z.looseObject({ minimum_valid_until_ts: z.number().int().min(0).optional() });
const BatchBody = z.looseObject({ server_keys: z.record(z.string(), z.record(z.string(), Criteria)) });

/** Registers the endpoints. */
export function keyRoutes(app: App, { localKeys, notary, clock }: KeyRoutesDeps): void {
  async function queryOne(c: Ctx): Promise<Response> {
    const { serverName } = pathIds(c, { serverName: parseServerName });
    const { minimum_valid_until_ts: minValidUntilTs = clock.now() } = query(c, Validity);
    return json({ server_keys: await notary.query([{ serverName, keyIds: new Map(), minValidUntilTs }]) });
  }

  plain(app, "/_matrix/key/v2")
    .get("/server", () => jsonText(localKeys.documentText()))
    .get("/server/", () => jsonText(localKeys.documentText()))
    .get("/server/:keyId", () => jsonText(localKeys.documentText()))
    .get("/query/:serverName", queryOne)
    .get("/query/:serverName/:keyId", queryOne)
    .post("/query", async (c) => {
      const { server_keys: wanted } = await readJson(c, BatchBody);
      return json({ server_keys: await notary.query(queriesOf(wanted, clock.now())) });
    });
}

function queriesOf(wanted: z.output<typeof BatchBody>["server_keys"], now: number): NotaryQuery[] {
  const servers = Object.entries(wanted);
  if (servers.length > MAX_SERVERS) throw invalidParam("Too many servers in one query");
  return servers.map(([name, criteria]) => {
    const serverName = parseServerName(name);
    if (serverName === null) throw invalidParam(`Invalid server name "${name.slice(0, 255)}"`);
    const keys = Object.entries(criteria);
    if (keys.length > MAX_KEY_IDS) throw invalidParam("Too many keys of one server in one query");
    const keyIds = new Map(keys.map(([keyId, { minimum_valid_until_ts: ts = now }]) => [keyId, ts]));
    return { serverName, keyIds, minValidUntilTs: now };
  });
}
