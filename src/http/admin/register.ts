/**
 * Registration by shared secret, as in Synapse's admin API.
 *   GET, POST /_synapse/admin/v1/register
 */
import { z } from "zod";
import type { ServerName } from "../../protocol/ids.ts";
import type { SharedSecretRegistration } from "../../services/shared_secret_registration.ts";
import { type App, plain } from "../app.ts";
import { readJson } from "../middleware/body.ts";
import { json } from "../middleware/responses.ts";
import { sessionJson } from "../client/login_response.ts";

/** What the routes are built from. */
export interface AdminRegisterRoutesDeps {
  readonly sharedSecretRegistration: SharedSecretRegistration;
  readonly serverName: ServerName;
}

const RegisterBody = z.looseObject({
  nonce: z.string().max(255),
  username: z.string().max(512),
  password: z.string().max(512),
  mac: z.string().max(255),
  admin: z.boolean().nullish(),
  user_type: z.string().max(255).nullish(),
  displayname: z.string().nullish(),
  inhibit_login: z.boolean().nullish(),
});

/** Registers the endpoints. */
export function adminRegisterRoutes(app: App, deps: AdminRegisterRoutesDeps): void {
  const { sharedSecretRegistration, serverName } = deps;
  plain(app)
    .get("/_synapse/admin/v1/register", async () => json({ nonce: await sharedSecretRegistration.makeNonce() }))
    .post("/_synapse/admin/v1/register", async (c) => {
      const body = await readJson(c, RegisterBody);
      const registered = await sharedSecretRegistration.register({
        nonce: body.nonce,
        username: body.username,
        password: body.password,
        isAdmin: body.admin === true,
        userType: body.user_type ?? null,
        displayname: body.displayname ?? null,
        inhibitLogin: body.inhibit_login === true,
        mac: body.mac,
      });
      return json(sessionJson({ ...registered, serverName }));
    });
}
