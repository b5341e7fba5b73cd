/** Registers the pages that people see in a browser. */
import { accountValidityRoutes } from "../http/client/account_validity.ts";
import type { Auth } from "../http/middleware/auth.ts";
import type { App } from "../http/app.ts";
import { authFallbackRoutes } from "../http/pages/auth_fallback.ts";
import { casRoutes } from "../http/pages/cas.ts";
import { consentRoutes } from "../http/pages/consent.ts";
import { emailLinkRoutes } from "../http/pages/email_links.ts";
import { loginPageRoutes } from "../http/pages/login.ts";
import { oidcRoutes } from "../http/pages/oidc.ts";
import { samlRoutes } from "../http/pages/saml.ts";
import { ssoRoutes } from "../http/client/sso.ts";
import { ssoNewUserRoutes } from "../http/pages/sso_new_user.ts";
import type { SsoPageDeps } from "../http/pages/sso_steps.ts";
import { getLogger } from "../lib/log.ts";
import { registrationTerms } from "./mail.ts";
import { CAS_COOKIES, cookiePath, OIDC_COOKIES, SAML_COOKIES } from "./sso_providers.ts";
import { Pages } from "../http/pages/page.ts";
import { unsubscribeRoutes } from "../http/pages/unsubscribe.ts";
import { uploadLimitRoutes } from "../http/pages/upload_limit.ts";
import type { Parts } from "./parts.ts";

/** Registers the pages. */
export function pageRoutes(
  app: App,
  parts: Parts,
  { auth }: { auth: Auth },
): void {
  const { core, accounts, push, sso: { sso }, usage: { consent } } = parts;
  const pages = new Pages(core.mail);
  const log = getLogger("synapse.handlers.sso");
  unsubscribeRoutes(app, { pages, ...push });
  uploadLimitRoutes(app, { pages });
  const { mas } = core;
  authFallbackRoutes(app, { mas, pages, sso, log, ...accounts });
  ssoPageRoutes(app, { ...parts, page: { pages, sso, log, publicBaseurl: core.config.publicBaseurl } });
  const { validity } = accounts;
  if (validity !== null) accountValidityRoutes(app, { auth, pages, validity });
  if (consent !== null) consentRoutes(app, { pages, consent });
  if (mas !== null) return;
  const { serverName, publicBaseurl } = core.config;
  const providers = core.sso.all.map(({ info }) => info);
  loginPageRoutes(app, { pages, login: accounts.login, serverName, providers, publicBaseurl });
  emailLinkRoutes(app, { pages, validations: accounts.validations });
}

/** Registers what logs people in who prove themselves elsewhere; without providers nothing but the refusal to do so. */
function ssoPageRoutes(
  app: App,
  { core, accounts: { registration }, page: deps }: Parts & { page: SsoPageDeps },
): void {
  const { config, sso: { oidc, cas, saml, all, states } } = core;
  ssoRoutes(app, { ...deps, hasPublicBaseurl: config.hasPublicBaseurl });
  if (all.length === 0) return;
  const terms = registrationTerms(config);
  ssoNewUserRoutes(app, {
    ...{ ...deps, registration },
    ...{ termsUrl: terms?.url ?? null, termsVersion: terms?.version ?? null },
  });
  if (cas !== null) {
    casRoutes(app, { ...deps, cas, states, cookies: CAS_COOKIES, cookiePath: cookiePath(config, "cas") });
  }
  if (saml !== null) {
    samlRoutes(app, { ...deps, saml, states, cookies: SAML_COOKIES, cookiePath: cookiePath(config, "saml2") });
  }
  if (oidc.length > 0) {
    oidcRoutes(app, { ...deps, oidc, states, cookies: OIDC_COOKIES, cookiePath: cookiePath(config, "oidc") });
  }
}
