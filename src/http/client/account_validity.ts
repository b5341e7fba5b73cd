/**
 * Renewing accounts that expire. Not in the specification; the paths are Synapse's.
 *   GET  /_matrix/client/unstable/account_validity/renew?token=…
 *   POST /_matrix/client/unstable/account_validity/send_mail
 */
import { z } from "zod";
import type { AccountValidity } from "../../services/account_validity.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJsonObject } from "../middleware/body.ts";
import { query } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";
import type { Pages } from "../pages/page.ts";

/** What the routes are built from. */
export interface AccountValidityRoutesDeps {
  readonly auth: Auth;
  readonly pages: Pages;
  readonly validity: AccountValidity;
}

const PAGES = { "renewed": "account_renewed.html", "renewed before": "account_previously_renewed.html" } as const;

/** Registers the endpoints. */
export function accountValidityRoutes(
  app: App,
  { auth, pages, validity }: AccountValidityRoutesDeps,
): void {
  client(app, ["unstable"])
    .get("/account_validity/renew", async (c) => {
      const { token } = query(c, z.object({ token: z.string().max(255) }));
      const renewal = await validity.renewByToken(token);
      if (renewal === null) return await pages.show("invalid_token.html", {}, { status: 404 });
      return await pages.show(PAGES[renewal.outcome], { expiration_ts: renewal.expiresTs });
    })
    .post("/account_validity/send_mail", auth.user({ allowLocked: true }), async (c) => {
      await readJsonObject(c, { allowEmpty: true });
      await validity.sendMail(requester(c).userId);
      return json({});
    });
}
