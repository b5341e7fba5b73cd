/**
 * Renewing accounts that expire, as in Synapse's admin API.
 *   POST /_synapse/admin/v1/account_validity/validity
 */
import { z } from "zod";
import { invalidParam, MatrixError } from "../../protocol/errors.ts";
import { parseUserId } from "../../protocol/ids.ts";
import type { AccountValidity } from "../../services/account_validity.ts";
import type { UserAdmin } from "../../services/user_admin.ts";
import { type App, plain } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface ValidityAdminRoutesDeps {
  readonly auth: Auth;
  readonly userAdmin: UserAdmin;
  /** Null where accounts do not expire. */
  readonly validity: AccountValidity | null;
}

const ValidityBody = z.looseObject({
  user_id: z.string(),
  expiration_ts: z.number().int().min(0).nullish(),
  enable_renewal_emails: z.boolean().nullish(),
});

/** Registers the endpoint. */
export function validityAdminRoutes(app: App, { auth, userAdmin, validity }: ValidityAdminRoutesDeps): void {
  plain(app).post("/_synapse/admin/v1/account_validity/validity", auth.admin(), async (c) => {
    const body = await readJson(c, ValidityBody);
    const userId = parseUserId(body.user_id);
    if (userId === null) throw invalidParam("Invalid user_id");
    await userAdmin.require(userId, "Only accounts of this server can be renewed");
    if (validity === null) throw new MatrixError(400, "M_UNKNOWN", "Accounts do not expire on this server");
    const expiresTs = await validity.renew(userId, {
      ...(typeof body.expiration_ts === "number" ? { expiresTs: body.expiration_ts } : {}),
      sendsMail: body.enable_renewal_emails ?? true,
    });
    return json({ expiration_ts: expiresTs });
  });
}
