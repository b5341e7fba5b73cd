/**
 * Pages for the stages of user-interactive authentication, for clients that do not know a stage. Spec: client-server API,
 * "Fallback". They need no JavaScript, but for captchas, which do.
 *   GET, POST /_matrix/client/v3/auth/{stage}/fallback/web?session=…
 */
import type { Logger } from "../../lib/log.ts";
import { randomString } from "../../lib/random.ts";
import { MatrixError, missingParam, notFound } from "../../protocol/errors.ts";
import type { JsonObject } from "../../protocol/json.ts";
import type { Captcha } from "../../services/captcha.ts";
import type { EmailValidations } from "../../services/email_validations.ts";
import type { Sso } from "../../services/sso/sso.ts";
import type { Mas } from "../../services/mas.ts";
import { templateHash, type TemplateVars } from "../../services/templates.ts";
import type { Stage, Uia } from "../../services/uia.ts";
import { REGISTER_ACTION, type TermsPolicy } from "../../services/uia_stages.ts";
import { type App, client, type Ctx } from "../app.ts";
import { readForm } from "../middleware/body.ts";
import { pathText, searchParams } from "../middleware/params.ts";
import { type PageOptions, type Pages, reasonOf } from "./page.ts";
import { orErrorPage, redirect } from "./sso_steps.ts";

/** What the routes are built from. */
export interface AuthFallbackRoutesDeps {
  readonly pages: Pages;
  readonly uia: Uia;
  readonly validations: EmailValidations;
  readonly captcha: Captcha | null;
  readonly terms: TermsPolicy | null;
  readonly sso: Sso;
  /** The server that has the accounts; null where this one does. */
  readonly mas: Pick<Mas, "resetUrl"> | null;
  readonly log: Logger;
}

/** One stage's page. */
interface StagePage {
  readonly template: string;
  readonly vars: TemplateVars;
  readonly options: PageOptions;
  /** Makes what a client would send as `auth` of what the form holds. */
  readonly authOf: (form: URLSearchParams) => JsonObject;
}

const SECRET_LENGTH = 32;
const EMAIL_STAGE = "m.login.email.identity";
const SSO_STAGE = "m.login.sso";
/** The stage for what another server allows, and its name before the specification (MSC4312). */
const OAUTH_STAGES: readonly string[] = ["m.oauth", "org.matrix.cross_signing_reset"];

/** Registers the endpoints. */
export function authFallbackRoutes(app: App, deps: AuthFallbackRoutesDeps): void {
  client(app)
    .get("/auth/:stage/fallback/web", async (c) => {
      const session = searchParams(c).get("session");
      if (session === null) throw missingParam("session");
      if (deps.mas !== null && OAUTH_STAGES.includes(pathText(c, "stage"))) {
        return redirect(await deps.mas.resetUrl());
      }
      if (pathText(c, "stage") === SSO_STAGE) {
        return await orErrorPage(deps, () => departToConfirm(c, { ...deps, session }));
      }
      return await show(c, deps, { session, vars: {} });
    })
    .post("/auth/:stage/fallback/web", async (c) => {
      const form = await readForm(c);
      const session = form.get("session") ?? searchParams(c).get("session");
      if (session === null) throw missingParam("session");
      return await submit(c, deps, { session, form });
    });
}

/** Says what is confirmed, and leads to the provider where the user proves who they are. */
async function departToConfirm(
  c: Ctx,
  { uia, sso, pages, session }: AuthFallbackRoutesDeps & { session: string },
): Promise<Response> {
  const { action, userId } = await uia.sessionOf(session);
  if (userId === null) throw notFound("This page belongs to no authentication under way");
  const query = searchParams(c);
  const provider = await sso.providerOf(userId, query.get("io.element.idp_id"));
  const { info } = provider;
  const { location, cookies } = await provider.depart({ kind: "confirm", uiaSession: session }, query);
  const idp = { idp_id: info.id, idp_name: info.name, idp_icon: info.icon };
  return await pages.show("sso_auth_confirm.html", { description: action, redirect_url: location, idp }, { cookies });
}

async function show(
  c: Ctx,
  deps: AuthFallbackRoutesDeps,
  { session, vars, status = 200 }: { session: string; vars: TemplateVars; status?: number },
): Promise<Response> {
  const stage = pathText(c, "stage");
  const page = pageOf(stage, deps);
  const myurl = `/_matrix/client/v3/auth/${encodeURIComponent(stage)}/fallback/web`;
  return await deps.pages.show(page.template, { session, myurl, ...page.vars, ...vars }, { ...page.options, status });
}

async function submit(
  c: Ctx,
  deps: AuthFallbackRoutesDeps,
  { session, form }: { session: string; form: URLSearchParams },
): Promise<Response> {
  const stage = pathText(c, "stage");
  const page = pageOf(stage, deps);
  try {
    if (stage === EMAIL_STAGE && form.get("sid") === null) {
      return await show(c, deps, { session, vars: await sendLink(c, deps, { session, form }) });
    }
    const verdict = await deps.uia.attemptOnPage({
      ...{ sessionId: session, stage, auth: page.authOf(form) },
      clientIp: c.env.clientIp,
    });
    if (verdict.passed) {
      return await deps.pages.show("auth_success.html", {}, { scripts: [templateHash("auth_done.inc")] });
    }
    return await show(c, deps, { session, vars: { error: verdict.error, ...linkOf(form) }, status: 401 });
  } catch (error) {
    const status = error instanceof MatrixError ? error.status : 500;
    return await show(c, deps, { session, vars: { error: reasonOf(error), ...linkOf(form) }, status });
  }
}

/** Sends the mail of the stage for e-mail; returns what the next page needs to know. */
async function sendLink(
  c: Ctx,
  { uia, validations }: AuthFallbackRoutesDeps,
  { session, form }: { session: string; form: URLSearchParams },
): Promise<TemplateVars> {
  const email = form.get("email") ?? "";
  const clientSecret = randomString(SECRET_LENGTH);
  const purpose = await uia.actionOf(session) === REGISTER_ACTION ? "register" : "reset";
  const request = { purpose, email, clientSecret, sendAttempt: 1, nextLink: null } as const;
  const sid = await validations.request({ ...request, clientIp: c.env.clientIp });
  return { email, sid, client_secret: clientSecret };
}

function linkOf(form: URLSearchParams): TemplateVars {
  const sid = form.get("sid");
  if (sid === null) return {};
  return { sid, client_secret: form.get("client_secret") ?? "", email: form.get("email") ?? "" };
}

/** Returns the page of a stage; throws 404 where the server does not know the stage. */
function pageOf(stage: Stage, { captcha, terms, validations }: AuthFallbackRoutesDeps): StagePage {
  const plainPage = { vars: {}, options: {}, authOf: () => ({}) };
  switch (stage) {
    case "m.login.dummy":
      return { ...plainPage, template: "auth_dummy.html" };
    case "m.login.password":
      return {
        ...plainPage,
        template: "auth_password.html",
        authOf: (form) => ({ password: form.get("password") ?? "" }),
      };
    case "m.login.registration_token":
      return {
        ...plainPage,
        template: "registration_token.html",
        authOf: (form) => ({ token: form.get("token") ?? "" }),
      };
    case "m.login.terms":
      if (terms !== null) return { ...plainPage, template: "terms.html", vars: { terms_url: terms.url } };
      break;
    case EMAIL_STAGE:
      if (!validations.isEnabled) break;
      return {
        ...plainPage,
        template: "auth_email.html",
        authOf: (form) => ({
          threepid_creds: { sid: form.get("sid") ?? "", client_secret: form.get("client_secret") ?? "" },
        }),
      };
    case "m.login.recaptcha":
      if (captcha !== null) return captchaPage(captcha);
      break;
  }
  throw notFound("This server has no page for this kind of authentication");
}

function captchaPage({ publicKey, widget }: Captcha): StagePage {
  return {
    template: "recaptcha.html",
    vars: { sitekey: publicKey, captcha_script: widget.script, captcha_class: widget.className },
    options: { scripts: widget.sources, frames: widget.sources },
    authOf: (form) => ({ response: form.get(widget.field) ?? "" }),
  };
}
