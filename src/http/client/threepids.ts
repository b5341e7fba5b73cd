/**
 * The addresses of accounts. Spec: client-server API, "Adding Account Administrative Contact Information".
 *   GET  /_matrix/client/v3/account/3pid
 *   POST /_matrix/client/v3/account/3pid, /account/3pid/{add,bind,delete,unbind}
 *   POST /_matrix/client/v3/{register,account/3pid,account/password}/{email,msisdn}/requestToken
 *   POST /_matrix/client/unstable/add_threepid/msisdn/submit_token
 */
import { z } from "zod";
import { MatrixError } from "../../protocol/errors.ts";
import { isStorable } from "../../protocol/ids.ts";
import type { Accounts } from "../../services/accounts.ts";
import type { EmailValidations } from "../../services/email_validations.ts";
import type { PhoneValidations } from "../../services/phone_validations.ts";
import type { Registration } from "../../services/registration.ts";
import type { Threepids } from "../../services/threepids.ts";
import type { Uia } from "../../services/uia.ts";
import type { ValidationPurpose } from "../../storage/email_validations.ts";
import { type App, client, type Ctx, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { checkJson, readJson, readJsonObject } from "../middleware/body.ts";
import { json } from "../middleware/responses.ts";
import { requirePassword } from "../middleware/uia.ts";

/** What the routes are built from. */
export interface ThreepidRoutesDeps {
  readonly auth: Auth;
  readonly accounts: Accounts;
  readonly threepids: Threepids;
  readonly validations: EmailValidations;
  readonly phones: PhoneValidations;
  readonly registration: Registration;
  readonly uia: Uia;
  /** Whether another server has the accounts with their addresses. */
  readonly isDelegated: boolean;
}

/** A text that any database can hold and that can be signed. */
const text = z.string().refine((value) => isStorable(value, 512));
const AddressBody = z.looseObject({ medium: text, address: text, id_server: text.nullish() });
const CredsBody = z.looseObject({ sid: text, client_secret: text });
const OldCredsBody = CredsBody.extend({ id_server: z.string().nullish(), id_access_token: z.string().nullish() });
const OldAddBody = z.looseObject({ three_pid_creds: OldCredsBody.optional(), threePidCreds: OldCredsBody.optional() });
const BindBody = z.looseObject({ ...CredsBody.shape, id_server: text, id_access_token: z.string().max(4_096) });
const tokenRequest = {
  client_secret: text,
  // Some clients send it as text.
  send_attempt: z.union([z.number(), z.string().regex(/^\d{1,15}$/).transform(Number)])
    .pipe(z.int().min(0).max(Number.MAX_SAFE_INTEGER)),
  next_link: z.string().max(4_096).nullish(),
  // Deprecated: this server validates addresses itself.
  id_server: z.string().nullish(),
  id_access_token: z.string().nullish(),
};
const TokenBody = z.looseObject({ ...tokenRequest, email: text });
const PhoneTokenBody = z.looseObject({ ...tokenRequest, country: text, phone_number: text });
const SubmitBody = z.looseObject({ ...CredsBody.shape, token: text });

/** Registers the endpoints. */
export function threepidRoutes(app: App, deps: ThreepidRoutesDeps): void {
  const { auth, accounts, threepids } = deps;
  client(app)
    .get("/account/3pid", auth.user(), async (c) => {
      const list = await accounts.threepids(requester(c).userId);
      return json({
        threepids: list.map(({ medium, address, validatedTs, addedTs }) => ({
          medium,
          address,
          validated_at: validatedTs,
          added_at: addedTs,
        })),
      });
    })
    .post("/account/3pid/bind", auth.user(), async (c) => {
      const { id_server: idServer, id_access_token: idAccessToken, ...creds } = await readJson(c, BindBody);
      const { userId } = requester(c);
      await threepids.bind(userId, { idServer, idAccessToken, sid: creds.sid, clientSecret: creds.client_secret });
      return json({});
    })
    .post("/account/3pid/unbind", auth.user(), async (c) => {
      const { medium, address, id_server: idServer } = await readJson(c, AddressBody);
      const result = await threepids.unbind(requester(c).userId, { medium, address, idServer: idServer ?? null });
      return json({ id_server_unbind_result: result });
    });
  if (deps.isDelegated) return;
  changeRoutes(app, deps);
  tokenRoutes(app, deps);
}

function changeRoutes(app: App, deps: ThreepidRoutesDeps): void {
  const { auth, threepids } = deps;
  client(app)
    .post("/account/3pid", auth.user(), async (c) => {
      const body = await readJson(c, OldAddBody);
      const creds = body.three_pid_creds ?? body.threePidCreds;
      if (creds === undefined) throw new MatrixError(400, "M_MISSING_PARAM", 'Missing parameter "three_pid_creds"');
      await threepids.add(requester(c).userId, { sid: creds.sid, clientSecret: creds.client_secret });
      return json({});
    })
    .post("/account/3pid/add", auth.user(), (c) => add(c, deps))
    .post("/account/3pid/delete", auth.user(), async (c) => {
      const { medium, address, id_server: idServer } = await readJson(c, AddressBody);
      const result = await threepids.remove(requester(c).userId, { medium, address, idServer: idServer ?? null });
      return json({ id_server_unbind_result: result });
    });
}

async function add(c: Ctx, { uia, threepids }: ThreepidRoutesDeps): Promise<Response> {
  const body = await readJsonObject(c);
  checkJson(CredsBody, body);
  return await requirePassword(c, {
    uia,
    body,
    conditions: { action: "POST /account/3pid/add", allowRecent: true },
    work: async (outcome) => {
      const { sid, client_secret: clientSecret } = checkJson(CredsBody, outcome.body);
      await threepids.add(requester(c).userId, { sid, clientSecret });
      return json({});
    },
  });
}

function tokenRoutes(app: App, { validations, phones, registration }: ThreepidRoutesDeps): void {
  const sendMail = (purpose: ValidationPurpose) => async (c: Ctx): Promise<Response> => {
    const body = await readJsonObject(c);
    if (!validations.isEnabled) throw unsupportedMedium("This server does not send e-mail");
    const { email, client_secret: clientSecret, send_attempt: sendAttempt, next_link } = checkJson(TokenBody, body);
    if (purpose === "register") registration.assertEnabled();
    const request = { purpose, email, clientSecret, sendAttempt, nextLink: next_link ?? null };
    return json({ sid: await validations.request({ ...request, clientIp: c.env.clientIp }) });
  };
  const sendText = (purpose: ValidationPurpose) => async (c: Ctx): Promise<Response> => {
    const body = await readJsonObject(c);
    if (!phones.isEnabled) throw unsupportedMedium("This server does not validate phone numbers");
    const { country, phone_number: phoneNumber, ...request } = checkJson(PhoneTokenBody, body);
    if (purpose === "register") registration.assertEnabled();
    const { client_secret: clientSecret, send_attempt: sendAttempt } = request;
    const nextLink = validations.checkNextLink(request.next_link ?? null);
    const asked = { purpose, country, phoneNumber, clientSecret, sendAttempt, nextLink };
    return json(await phones.request({ ...asked, clientIp: c.env.clientIp }));
  };
  client(app)
    .post("/register/email/requestToken", sendMail("register"))
    .post("/account/3pid/email/requestToken", sendMail("add"))
    .post("/account/password/email/requestToken", sendMail("reset"))
    .post("/register/msisdn/requestToken", sendText("register"))
    .post("/account/3pid/msisdn/requestToken", sendText("add"))
    .post("/account/password/msisdn/requestToken", sendText("reset"));
  client(app, ["unstable"]).post("/add_threepid/msisdn/submit_token", async (c) => {
    const { sid, client_secret: clientSecret, token } = await readJson(c, SubmitBody);
    return json({ success: await phones.submit({ sid, clientSecret, token }) });
  });
}

function unsupportedMedium(message: string): MatrixError {
  return new MatrixError(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", message);
}
