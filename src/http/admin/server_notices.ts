/**
 * Server notices, as in Synapse's admin API.
 *   POST /_synapse/admin/v1/send_server_notice
 *   PUT  /_synapse/admin/v1/send_server_notice/{txnId}
 */
import { z } from "zod";
import { invalidParam } from "../../protocol/errors.ts";
import { isStorable, MAX_ID_BYTES, parseUserId } from "../../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../../protocol/json.ts";
import type { ServerNotices } from "../../services/server_notices.ts";
import { type App, type Ctx, plain, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { pathText } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface ServerNoticeRoutesDeps {
  readonly auth: Auth;
  readonly serverNotices: ServerNotices;
}

const PATH = "/_synapse/admin/v1/send_server_notice";
const idText = z.string().refine((text) => isStorable(text, MAX_ID_BYTES));
const NoticeBody = z.looseObject({
  user_id: z.string(),
  content: z.custom<JsonObject>(isJsonObject),
  type: idText.min(1).nullish(),
  state_key: idText.nullish(),
});

/** Registers the endpoints. */
export function serverNoticeRoutes(app: App, { auth, serverNotices }: ServerNoticeRoutesDeps): void {
  async function send(c: Ctx, txnId: string | null): Promise<Response> {
    const body = await readJson(c, NoticeBody);
    const userId = parseUserId(body.user_id);
    if (userId === null) throw invalidParam(`"user_id" is not a user id`);
    const eventId = await serverNotices.send({
      ...{ admin: requester(c).userId, userId, txnId, content: body.content },
      type: body.type ?? "m.room.message",
      stateKey: body.state_key ?? null,
    });
    return json({ event_id: eventId });
  }
  plain(app)
    .post(PATH, auth.admin(), (c) => send(c, null))
    .put(`${PATH}/:txnId`, auth.admin(), (c) => send(c, pathText(c, "txnId")));
}
