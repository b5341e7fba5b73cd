/**
 * Where the links of mails lead. The paths are Synapse's.
 *   GET       /_matrix/client/unstable/registration/email/submit_token
 *   GET       /_matrix/client/unstable/add_threepid/email/submit_token
 *   GET, POST /_synapse/client/password_reset/email/submit_token
 */
import type { EmailValidations } from "../../services/email_validations.ts";
import type { ValidationPurpose } from "../../storage/email_validations.ts";
import { type App, plain } from "../app.ts";
import { readForm } from "../middleware/body.ts";
import { searchParams } from "../middleware/params.ts";
import { type Pages, reasonOf } from "./page.ts";

/** What the routes are built from. */
export interface EmailLinkRoutesDeps {
  readonly pages: Pages;
  readonly validations: EmailValidations;
}

/** What the pages are called. */
const TEMPLATES: Readonly<Record<ValidationPurpose, string>> = {
  register: "registration",
  add: "add_threepid",
  reset: "password_reset",
};

/** Registers the endpoints. */
export function emailLinkRoutes(app: App, { pages, validations }: EmailLinkRoutesDeps): void {
  const submit = async (params: URLSearchParams, purpose: ValidationPurpose): Promise<Response> => {
    const [sid, clientSecret, token] = ["sid", "client_secret", "token"].map((name) => params.get(name) ?? "");
    try {
      const creds = { sid: sid ?? "", clientSecret: clientSecret ?? "", token: token ?? "" };
      const { nextLink } = await validations.submit({ ...creds, purpose });
      if (nextLink === null) return await pages.show(`${TEMPLATES[purpose]}_success.html`);
      return new Response(null, { status: 302, headers: { location: nextLink, "referrer-policy": "no-referrer" } });
    } catch (error) {
      const vars = { failure_reason: reasonOf(error) };
      return await pages.show(`${TEMPLATES[purpose]}_failure.html`, vars, { status: 400 });
    }
  };
  plain(app)
    .get("/_matrix/client/unstable/registration/email/submit_token", (c) => submit(searchParams(c), "register"))
    .get("/_matrix/client/unstable/add_threepid/email/submit_token", (c) => submit(searchParams(c), "add"))
    // Mail programs open links to look at them, so that opening this one alone changes nothing.
    .get("/_synapse/client/password_reset/email/submit_token", async (c) => {
      const params = searchParams(c);
      const [sid, token, client_secret] = ["sid", "token", "client_secret"].map((name) => params.get(name) ?? "");
      return await pages.show("password_reset_confirmation.html", { sid, token, client_secret });
    })
    .post("/_synapse/client/password_reset/email/submit_token", async (c) => await submit(await readForm(c), "reset"));
}
