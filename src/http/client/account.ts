/**
 * The requester's own account. Spec: client-server API, "Account management".
 *   GET  /_matrix/client/v3/account/whoami
 *   POST /_matrix/client/v3/account/password, /account/deactivate
 */
import { z } from "zod";
import { forbidden, missingToken } from "../../protocol/errors.ts";
import type { Accounts } from "../../services/accounts.ts";
import type { LoginOptions } from "../../services/login.ts";
import type { Uia, UiaOutcome } from "../../services/uia.ts";
import { provenAddresses } from "../../services/uia_stages.ts";
import type { ProvenAddress } from "../../services/email_validations.ts";
import { type App, client, type Ctx, type Guard, requester, sessionOf } from "../app.ts";
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
  /** Whether the server sends mail, so that a password can be reset. */
  readonly hasEmail: boolean;
  /** Ends the proof of an address, so that it resets one password only. */
  readonly hasPhones: boolean;
  readonly consumeProof: (proven: ProvenAddress) => Promise<void>;
  /** Whether another server has the accounts, their passwords among them. */
  readonly isDelegated: boolean;
}

const PasswordBody = z.looseObject({ new_password: z.string(), logout_devices: z.boolean().optional() });
const DeactivateBody = z.looseObject({ erase: z.boolean().optional(), id_server: z.string().optional() });

/** Registers the endpoints. */
export function accountRoutes(app: App, deps: AccountRoutesDeps): void {
  const { auth } = deps;
  client(app)
    .get("/account/whoami", auth.guestOk(), (c) => {
      const { userId, deviceId, isGuest } = requester(c);
      return json({ user_id: userId, ...(deviceId === null ? {} : { device_id: deviceId }), is_guest: isGuest });
    });
  if (deps.isDelegated) return;
  client(app)
    .post("/account/password", userOrOwner(deps), (c) => changePassword(c, deps))
    .post("/account/deactivate", auth.user(), (c) => deactivate(c, deps));
}

/** Users of the account; where addresses are validated, also whoever proves to have one of the account's. */
function userOrOwner({ auth, hasEmail, hasPhones }: AccountRoutesDeps): Guard {
  const user = auth.user();
  return (c) => (hasEmail || hasPhones) && tokenOf(c) === null ? undefined : user(c);
}

async function changePassword(c: Ctx, deps: AccountRoutesDeps): Promise<Response> {
  const { accounts, uia, options, consumeProof } = deps;
  const { enabled, localdbEnabled } = options.passwordConfig;
  if (enabled === false || !localdbEnabled) throw forbidden("Password change is disabled");
  const body = await readJsonObject(c);
  if (body.new_password !== undefined) checkJson(PasswordBody, body);
  const conditions = { action: "POST /account/password", secretKeys: ["new_password"] };
  const change = async (outcome: UiaOutcome): Promise<Response> => {
    const { new_password: password, logout_devices: logoutDevices = true } = checkJson(PasswordBody, outcome.body);
    const session = sessionOf(c);
    const [proven] = provenAddresses(outcome.proofs);
    const userId = session?.requester.userId ?? (proven && await accounts.requireOwner(proven));
    if (userId === undefined) throw missingToken();
    await accounts.setPassword({ userId, password, logoutDevices, keep: session?.requester.deviceId ?? null });
    if (proven !== undefined) await consumeProof(proven);
    return json({});
  };
  if (sessionOf(c) !== null) return await requirePassword(c, { uia, body, conditions, work: change });
  const flows = [
    ...(deps.hasEmail ? [["m.login.email.identity"]] : []),
    ...(deps.hasPhones ? [["m.login.msisdn"]] : []),
  ];
  return await uia.require({ ...conditions, flows, session: null, body, clientIp: c.env.clientIp }, change);
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
