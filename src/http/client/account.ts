/**
 * The requester's own account. Spec: client-server API, "Account management", "Adding Account Administrative Contact
 * Information".
 *   GET  /_matrix/client/v3/account/whoami
 *   POST /_matrix/client/v3/account/password, /account/deactivate
 *   GET  /_matrix/client/v3/account/3pid, and the endpoints that change it
 */
import { z } from "zod";
import { forbidden, MatrixError } from "../../protocol/errors.ts";
import type { Accounts } from "../../services/accounts.ts";
import type { LoginOptions } from "../../services/login.ts";
import type { Uia } from "../../services/uia.ts";
import { type App, client, type Ctx, requester } from "../app.ts";
import { type Auth, tokenOf } from "../middleware/auth.ts";
import { checkJson, readJsonObject } from "../middleware/body.ts";
import { json } from "../middleware/responses.ts";
import { requirePassword } from "../middleware/uia.ts";

/** What the routes are built from. */
export interface AccountRoutesDeps {
  readonly auth: Auth;
  readonly accounts: Accounts;
  readonly uia: Uia;
  readonly options: Pick<LoginOptions, "passwordConfig">;
}

const PasswordBody = z.looseObject({ new_password: z.string(), logout_devices: z.boolean().optional() });
const DeactivateBody = z.looseObject({ erase: z.boolean().optional(), id_server: z.string().optional() });
const AddressBody = z.looseObject({ medium: z.string(), address: z.string() });

/** Registers the endpoints. */
export function accountRoutes(app: App, deps: AccountRoutesDeps): void {
  const { auth } = deps;
  client(app)
    .get("/account/whoami", auth.guestOk(), (c) => {
      const { userId, deviceId, isGuest } = requester(c);
      return json({ user_id: userId, ...(deviceId === null ? {} : { device_id: deviceId }), is_guest: isGuest });
    })
    .post("/account/password", auth.user(), (c) => changePassword(c, deps))
    .post("/account/deactivate", auth.user(), (c) => deactivate(c, deps));
  addressRoutes(app, deps);
}

async function changePassword(c: Ctx, { accounts, uia, options }: AccountRoutesDeps): Promise<Response> {
  const { enabled, localdbEnabled } = options.passwordConfig;
  if (enabled === false || !localdbEnabled) throw forbidden("Password change is disabled");
  const body = await readJsonObject(c);
  if (body.new_password !== undefined) checkJson(PasswordBody, body);
  const conditions = { action: "POST /account/password", secretKeys: ["new_password"] };
  return await requirePassword(c, {
    uia,
    body,
    conditions,
    work: async (outcome) => {
      const { new_password: password, logout_devices: logoutDevices = true } = checkJson(PasswordBody, outcome.body);
      const { userId, deviceId } = requester(c);
      await accounts.setPassword({ userId, password, logoutDevices, keep: deviceId });
      return json({});
    },
  });
}

async function deactivate(c: Ctx, { accounts, uia }: AccountRoutesDeps): Promise<Response> {
  const body = await readJsonObject(c, { allowEmpty: true });
  checkJson(DeactivateBody, body);
  return await requirePassword(c, {
    uia,
    body,
    conditions: { action: "POST /account/deactivate" },
    work: async (outcome) => {
      const { erase = false } = checkJson(DeactivateBody, outcome.body);
      await accounts.deactivate(requester(c).userId, { erase });
      return json({ id_server_unbind_result: "success" });
    },
  });
}

/** Addresses are listed. None can be added while the server cannot validate them. */
function addressRoutes(app: App, { auth, accounts }: AccountRoutesDeps): void {
  client(app)
    .get("/account/3pid", auth.user(), async (c) => {
      const threepids = await accounts.threepids(requester(c).userId);
      return json({
        threepids: threepids.map(({ medium, address, validatedTs, addedTs }) => ({
          medium,
          address,
          validated_at: validatedTs,
          added_at: addedTs,
        })),
      });
    })
    .post("/account/3pid", auth.user(), refuseAddress)
    .post("/account/3pid/add", auth.user(), refuseAddress)
    .post("/account/3pid/bind", auth.user(), refuseAddress)
    .post("/account/3pid/delete", auth.user(), async (c) => {
      const { medium, address } = checkJson(AddressBody, await readJsonObject(c));
      await accounts.removeThreepid(requester(c).userId, { medium, address });
      return json({ id_server_unbind_result: "no-support" });
    })
    .post("/account/3pid/unbind", auth.user(), async (c) => {
      checkJson(AddressBody, await readJsonObject(c));
      return json({ id_server_unbind_result: "no-support" });
    })
    .post("/account/3pid/email/requestToken", refuseAddress)
    .post("/account/3pid/msisdn/requestToken", refuseAddress)
    .post("/account/password/email/requestToken", refuseAddress)
    .post("/account/password/msisdn/requestToken", refuseAddress);
}

async function refuseAddress(c: Ctx): Promise<Response> {
  await readJsonObject(c);
  if (tokenOf(c) === null) throw unsupportedMedium();
  throw new MatrixError(403, "M_THREEPID_DENIED", "This server does not validate e-mail addresses or phone numbers");
}

function unsupportedMedium(): MatrixError {
  return new MatrixError(
    400,
    "M_THREEPID_MEDIUM_NOT_SUPPORTED",
    "This server does not validate e-mail addresses or phone numbers",
  );
}
