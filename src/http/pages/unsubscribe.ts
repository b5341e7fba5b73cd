/**
 * The end of mails about missed messages. The path is Synapse's; RFC 8058 has mail programs POST to it by themselves.
 *   GET, POST /_synapse/client/unsubscribe?user_id=…&app_id=…&pushkey=…&token=…
 */
import { parseUserId } from "../../protocol/ids.ts";
import type { PushersService } from "../../services/pushers.ts";
import type { Unsubscribes } from "../../services/unsubscribes.ts";
import type { PusherKey } from "../../storage/pushers.ts";
import { type App, type Ctx, plain } from "../app.ts";
import { readForm } from "../middleware/body.ts";
import { searchParams } from "../middleware/params.ts";
import type { Pages } from "./page.ts";

/** What the routes are built from. */
export interface UnsubscribeRoutesDeps {
  readonly pages: Pages;
  readonly pushers: PushersService;
  readonly unsubscribes: Unsubscribes;
}

/** Registers the endpoints. */
export function unsubscribeRoutes(app: App, { pages, pushers, unsubscribes }: UnsubscribeRoutesDeps): void {
  const keyOf = (c: Ctx): PusherKey | null => {
    const params = searchParams(c);
    const userId = parseUserId(params.get("user_id") ?? "");
    if (userId === null) return null;
    const key = { userId, appId: params.get("app_id") ?? "", pushkey: params.get("pushkey") ?? "" };
    return unsubscribes.isValid(key, params.get("token") ?? "") ? key : null;
  };
  const unknown = () => pages.show("invalid_token.html", {}, { status: 403 });
  plain(app)
    // Mail programs open links to look at them, so that opening this one alone ends nothing.
    .get("/_synapse/client/unsubscribe", async (c) => {
      const key = keyOf(c);
      return key === null
        ? await unknown()
        : await pages.show("unsubscribe_confirmation.html", { address: key.pushkey });
    })
    .post("/_synapse/client/unsubscribe", async (c) => {
      await readForm(c);
      const key = keyOf(c);
      if (key === null) return await unknown();
      await pushers.delete(key);
      return await pages.show("unsubscribe.html");
    });
}
