/** Registers the pages that people see in a browser. */
import { accountValidityRoutes } from "../http/client/account_validity.ts";
import type { Auth } from "../http/middleware/auth.ts";
import type { UserId } from "../protocol/ids.ts";
import type { App } from "../http/app.ts";
import { authFallbackRoutes } from "../http/pages/auth_fallback.ts";
import { consentRoutes } from "../http/pages/consent.ts";
import { emailLinkRoutes } from "../http/pages/email_links.ts";
import { loginPageRoutes } from "../http/pages/login.ts";
import { Pages } from "../http/pages/page.ts";
import { unsubscribeRoutes } from "../http/pages/unsubscribe.ts";
import { uploadLimitRoutes } from "../http/pages/upload_limit.ts";
import type { Parts } from "./parts.ts";

/** Registers the pages. */
export function pageRoutes(
  app: App,
  { core, accounts, push, usage: { consent } }: Parts,
  { auth }: { auth: Auth },
): void {
  const pages = new Pages(core.mail);
  unsubscribeRoutes(app, { pages, ...push });
  uploadLimitRoutes(app, { pages });
  authFallbackRoutes(app, { pages, ...accounts });
  const { validity } = accounts;
  if (validity !== null) {
    const hasAccount = async (userId: UserId) => await accounts.accounts.find(userId) !== null;
    accountValidityRoutes(app, { auth, pages, validity, hasAccount });
  }
  if (consent !== null) consentRoutes(app, { pages, consent });
  loginPageRoutes(app, { pages, login: accounts.login, serverName: core.config.serverName });
  emailLinkRoutes(app, { pages, validations: accounts.validations });
}
