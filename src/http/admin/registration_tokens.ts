/**
 * Registration tokens, as in Synapse's admin API.
 *   GET  /_synapse/admin/v1/registration_tokens
 *   POST /_synapse/admin/v1/registration_tokens/new
 *   GET, PUT, DELETE /_synapse/admin/v1/registration_tokens/{token}
 */
import { z } from "zod";
import type { JsonObject } from "../../protocol/json.ts";
import type { RegistrationTokens } from "../../services/registration_tokens.ts";
import type { RegistrationToken } from "../../storage/registration_tokens.ts";
import { type App, plain } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJsonObject } from "../middleware/body.ts";
import { boolParam, pathText, query } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface RegistrationTokenRoutesDeps {
  readonly auth: Auth;
  readonly registrationTokens: RegistrationTokens;
}

const PATH = "/_synapse/admin/v1/registration_tokens";
const ListQuery = z.object({ valid: boolParam().optional() });

/** Registers the endpoints. */
export function registrationTokenRoutes(app: App, { auth, registrationTokens }: RegistrationTokenRoutesDeps): void {
  plain(app)
    .get(PATH, auth.admin(), async (c) => {
      const { valid } = query(c, ListQuery);
      return json({ registration_tokens: (await registrationTokens.list(valid ?? null)).map(tokenJson) });
    })
    .post(
      `${PATH}/new`,
      auth.admin(),
      async (c) => json(tokenJson(await registrationTokens.create(await readJsonObject(c)))),
    )
    .get(`${PATH}/:token`, auth.admin(), async (c) => json(tokenJson(await registrationTokens.get(tokenOf(c)))))
    .put(`${PATH}/:token`, auth.admin(), async (c) => {
      return json(tokenJson(await registrationTokens.update(tokenOf(c), await readJsonObject(c))));
    })
    .delete(`${PATH}/:token`, auth.admin(), async (c) => {
      await registrationTokens.delete(tokenOf(c));
      return json({});
    });
}

function tokenOf(c: Parameters<typeof pathText>[0]): string {
  return pathText(c, "token");
}

function tokenJson({ token, usesAllowed, pending, completed, expiresTs }: RegistrationToken): JsonObject {
  return { token, uses_allowed: usesAllowed, pending, completed, expiry_time: expiresTs };
}
