/** What the browser of somebody who came back from an identity provider sees next. */
import type { Logger } from "../../lib/log.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { SsoError } from "../../services/sso/identity_provider.ts";
import { displayUrl } from "../../services/sso/redirect_urls.ts";
import type { Sso, SsoStep } from "../../services/sso/sso.ts";
import { templateHash } from "../../services/templates.ts";
import type { Ctx } from "../app.ts";
import { type Pages, withCookies } from "./page.ts";

/** What the pages are made with. */
export interface SsoPageDeps {
  readonly pages: Pages;
  readonly sso: Sso;
  readonly log: Logger;
  /** With a slash at its end. */
  readonly publicBaseurl: string;
}

/** The cookie of new users, by Synapse's name. */
const NEW_USER_COOKIE = "username_mapping_session";
const NEW_USER_PAGES = {
  account_details: "_synapse/client/pick_username/account_details",
  terms: "_synapse/client/new_user_consent",
  register: "_synapse/client/sso_register",
} as const;

/** Answers with the page of an error where `work` fails for a reason that people can be told. */
export async function orErrorPage(
  { pages, log }: Pick<SsoPageDeps, "pages" | "log">,
  work: () => Promise<Response>,
): Promise<Response> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SsoError) {
      log.warn(`A login failed: ${error.code}: ${error.message}${causeOf(error)}`);
      const vars = { error: error.code, error_description: error.message };
      return await pages.show("sso_error.html", vars, { status: error.status });
    }
    if (!(error instanceof MatrixError)) throw error;
    const vars = { error: error.errcode, error_description: error.message };
    return await pages.show("sso_error.html", vars, { status: error.status });
  }
}

function causeOf({ cause }: SsoError): string {
  return cause instanceof Error ? ` (${cause.message})` : "";
}

/** Answers with the next step of a login. */
export async function showStep(deps: SsoPageDeps, step: SsoStep): Promise<Response> {
  const { pages } = deps;
  switch (step.kind) {
    case "choose":
      return redirect(`${deps.publicBaseurl}${NEW_USER_PAGES[step.page]}`, [newUserCookie(deps, step.token)]);
    case "confirmed":
      return await pages.show("sso_auth_success.html", {}, { scripts: [templateHash("auth_done.inc")] });
    case "not_confirmed":
      return await pages.show("sso_auth_bad_user.html", { user_id_to_verify: step.userId }, { status: 403 });
    case "deactivated":
      return await pages.show("sso_account_deactivated.html", {}, { status: 403 });
    case "client":
      return await toClient(deps, step);
  }
}

async function toClient(deps: SsoPageDeps, step: SsoStep & { kind: "client" }): Promise<Response> {
  const cookies = step.isNew ? [newUserCookie(deps, null)] : [];
  if (step.isTrusted) return redirect(step.location, cookies);
  const { displayname: display_name, avatarUrl: avatar_url } = step.profile;
  const vars = {
    ...{ display_url: displayUrl(step.redirectUrl), redirect_url: step.location, new_user: step.isNew },
    ...{ user_id: step.userId, user_profile: { display_name, avatar_url } },
  };
  return await deps.pages.show("sso_redirect_confirm.html", vars, { images: true, cookies });
}

/** Sends a browser elsewhere; what it is told is for nobody else. */
export function redirect(location: string, cookies: readonly string[] = []): Response {
  const headers = { location, "cache-control": "no-store", "referrer-policy": "no-referrer" };
  return withCookies(new Response(null, { status: 302, headers }), cookies);
}

/** Returns the cookie of a new user; with null the browser forgets it. */
function newUserCookie({ publicBaseurl }: SsoPageDeps, token: string | null): string {
  const secure = publicBaseurl.startsWith("https:") ? "; Secure" : "";
  const path = `${new URL(publicBaseurl).pathname}_synapse/client`;
  const lifetime = token === null ? "; Max-Age=0" : "";
  return `${NEW_USER_COOKIE}=${token ?? ""}; Path=${path}; HttpOnly; SameSite=Lax${secure}${lifetime}`;
}

/** Returns the session of a new user as their browser knows it. Throws for one that has none. */
export function newUserToken(c: Ctx): string {
  const token = cookieOf(c, NEW_USER_COOKIE);
  if (token === null) throw new SsoError("bad_session", "Your browser has lost its session. Are cookies switched off?");
  return token;
}

/** Returns a cookie that the browser sent, or null. */
function cookieOf(c: Ctx, name: string): string | null {
  for (const pair of (c.req.raw.headers.get("cookie") ?? "").split(";")) {
    const [key = "", ...rest] = pair.trim().split("=");
    if (key === name && rest.length > 0) return rest.join("=");
  }
  return null;
}

/** Returns the sealed state that the browser sent in one of some cookies, or null. */
export function sealedStateOf(c: Ctx, cookies: readonly (readonly [name: string, flags: string])[]): string | null {
  for (const [name] of cookies) {
    const value = cookieOf(c, name);
    if (value !== null && value !== "") return value;
  }
  return null;
}

/** Returns cookies that make the browser forget some. */
export function forgetCookies(names: readonly (readonly [string, string])[], path: string): readonly string[] {
  return names.map(([name, flags]) => `${name}=; Max-Age=0; Path=${path}; ${flags}`);
}
