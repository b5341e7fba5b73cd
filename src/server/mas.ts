/** The Matrix Authentication Service, put together. */
import type { Config } from "../config/config.ts";
import type { App, Ctx } from "../http/app.ts";
import { authMetadataRoutes } from "../http/client/auth_metadata.ts";
import { masRoutes } from "../http/mas.ts";
import { sendBounded } from "../lib/bounded_request.ts";
import type { Clock } from "../lib/clock.ts";
import { getLogger } from "../lib/log.ts";
import { requester } from "../http/app.ts";
import { Mas } from "../services/mas.ts";
import { MasAccounts } from "../services/mas_accounts.ts";
import type { UserId } from "../protocol/ids.ts";
import { UiaRequired } from "../services/uia.ts";
import { deleteCrossSigningReset, selectMayReset } from "../storage/cross_signing_resets.ts";
import type { Database } from "../storage/database.ts";
import type { Parts } from "./parts.ts";

/** Builds what asks the service; null where this server has the accounts itself. */
export function openMas(config: Config, clock: Clock): Mas | null {
  const { enabled, endpoint, secret } = config.server.matrixAuthenticationService;
  if (!enabled) return null;
  return new Mas({
    ...{ clock, send: sendBounded, log: getLogger("synapse.api.auth.mas"), serverName: config.serverName },
    ...{ endpoint: endpoint.replace(/\/+$/, ""), secret: secret ?? "" },
  });
}

/** Registers what the service calls, and what clients learn about it. */
export function addMasRoutes(app: App, { core, accounts: parts }: Parts): void {
  const { mas, db, clock, config: { serverName } } = core;
  if (mas === null) return;
  authMetadataRoutes(app, mas);
  const masAccounts = new MasAccounts({ db, clock, serverName, ...parts });
  masRoutes(app, { mas, masAccounts, ...parts });
}

/**
 * Lets users replace their cross-signing keys for as long as the service allows it, and else says where they can have it
 * allowed. Spec: client-server API, "OAuth-aware stages"; MSC4312 for the older name.
 */
export async function withResetAllowed(
  c: Ctx,
  { core: { mas, db, clock }, work }: Pick<Parts, "core"> & { work: () => Promise<Response> },
): Promise<Response> {
  const { userId, appserviceId } = requester(c);
  if (mas === null || appserviceId !== null) return await work();
  if (!await selectMayReset(db, { userId, now: clock.now() })) {
    const url = await mas.resetUrl();
    throw new UiaRequired({
      session: "dummy",
      flows: [{ stages: ["m.oauth"] }, { stages: ["org.matrix.cross_signing_reset"] }],
      params: { "m.oauth": { url }, "org.matrix.cross_signing_reset": { url } },
      msg: `To reset your end-to-end encryption cross-signing identity, you first need to approve it at ${url}`,
    });
  }
  return await usingReset(db, { userId, work });
}

/** Replaces keys as somebody who was allowed to, which holds for one time. */
export async function usingReset(
  db: Database,
  { userId, work }: { userId: UserId; work: () => Promise<Response> },
): Promise<Response> {
  const response = await work();
  await db.transaction((tx) => deleteCrossSigningReset(tx, userId));
  return response;
}
