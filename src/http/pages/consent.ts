/**
 * The terms of the server. The path and its parameters are Synapse's.
 *   GET, POST /_matrix/consent?u=localpart&h=hmac&v=version
 */
import { MatrixError } from "../../protocol/errors.ts";
import type { Consent } from "../../services/consent.ts";
import { type App, plain } from "../app.ts";
import { readForm } from "../middleware/body.ts";
import { searchParams } from "../middleware/params.ts";
import { type Pages, reasonOf } from "./page.ts";

/** What the routes are built from. */
export interface ConsentRoutesDeps {
  readonly pages: Pages;
  readonly consent: Consent;
}

/** Registers the endpoints. */
export function consentRoutes(app: App, { pages, consent }: ConsentRoutesDeps): void {
  const answer = async (make: () => Promise<string>): Promise<Response> => {
    try {
      return pages.html(await make());
    } catch (error) {
      const status = error instanceof MatrixError ? error.status : 500;
      return await pages.show("invalid_token.html", { error: reasonOf(error) }, { status });
    }
  };
  const linkOf = (params: URLSearchParams) => ({ user: params.get("u") ?? "", mac: params.get("h") ?? "" });
  plain(app)
    .get("/_matrix/consent", (c) => {
      const params = searchParams(c);
      return answer(() => consent.page(linkOf(params), params.get("v")));
    })
    .post("/_matrix/consent", async (c) => {
      const form = await readForm(c);
      return await answer(() => consent.agree(linkOf(form), form.get("v") ?? ""));
    });
}
