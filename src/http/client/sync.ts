/**
 * Sync and filters. Spec: client-server API, "Syncing" and "Filtering".
 *   GET  /sync
 *   POST /user/{userId}/filter
 *   GET  /user/{userId}/filter/{filterId}
 */
import { z } from "zod";
import { getLogger } from "../../lib/log.ts";
import { forbidden, invalidParam } from "../../protocol/errors.ts";
import { parseUserId, type UserId } from "../../protocol/ids.ts";
import type { StreamPositions } from "../../streams/notifier.ts";
import { parseSyncToken } from "../../streams/tokens.ts";
import type { Filters } from "../../sync/filters.ts";
import type { SyncBody, SyncService } from "../../sync/sync.ts";
import type { StateAfterKey } from "../../sync/types.ts";
import { type App, client, type Ctx, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJsonObject } from "../middleware/body.ts";
import { boolParam, intParam, pathIds, pathText, query } from "../middleware/params.ts";
import { json, jsonText } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface SyncRoutesDeps {
  readonly auth: Auth;
  readonly sync: SyncService;
  readonly filters: Filters;
}

const SyncQuery = z.object({
  filter: z.string().optional(),
  since: z.string().optional(),
  full_state: boolParam().optional(),
  set_presence: z.enum(["online", "unavailable", "offline"]).optional(),
  timeout: intParam().optional(),
  use_state_after: boolParam().optional(),
  "org.matrix.msc4222.use_state_after": boolParam().optional(),
});
const log = getLogger("synapse.handlers.sync");
/** A body up to this size is sent whole. In characters. */
const WHOLE_BODY_SIZE = 262_144;
const PIECE_SIZE = 65_536;

/** Registers sync and the filter endpoints. */
export function syncRoutes(app: App, { auth, sync, filters }: SyncRoutesDeps): void {
  client(app)
    .get("/sync", auth.syncer({ guests: true }), async (c) => {
      const params = query(c, SyncQuery);
      const { userId, deviceId, isAdmin } = requester(c);
      const body = await sync.sync({
        requester: { userId, deviceId, isAdmin },
        since: sinceOf(params.since),
        filter: await filters.resolve(userId, params.filter ?? null),
        fullState: params.full_state ?? false,
        stateAfter: stateAfterOf(params),
        timeoutMs: params.timeout ?? 0,
        setPresence: params.set_presence ?? "online",
      }, c.req.raw.signal);
      return await bodyResponse(body);
    })
    .post("/user/:userId/filter", auth.guestOk(), async (c) => {
      const userId = ownUser(c);
      return json({ filter_id: await filters.create(userId, await readJsonObject(c)) });
    })
    .get("/user/:userId/filter/:filterId", auth.guestOk(), async (c) => {
      return jsonText(await filters.get(ownUser(c), pathText(c, "filterId")));
    });
}

function ownUser(c: Ctx): UserId {
  const { userId } = pathIds(c, { userId: parseUserId });
  if (userId !== requester(c).userId) throw forbidden("Cannot use the filters of another user");
  return userId;
}

function sinceOf(text: string | undefined): StreamPositions | null {
  if (text === undefined || text === "") return null;
  const positions = parseSyncToken(text);
  if (positions === null) throw invalidParam('Invalid value for query parameter "since"');
  return positions;
}

function stateAfterOf(params: z.output<typeof SyncQuery>): StateAfterKey | null {
  if (params.use_state_after === true) return "state_after";
  return params["org.matrix.msc4222.use_state_after"] === true ? "org.matrix.msc4222.state_after" : null;
}

/** Sends a large body as it is made, so that it is never in memory as a whole. */
async function bodyResponse(body: SyncBody): Promise<Response> {
  if (typeof body === "string") return jsonText(body);
  const pieces = body[Symbol.asyncIterator]();
  let text = "";
  while (text.length < WHOLE_BODY_SIZE) {
    const { done, value } = await pieces.next();
    if (done) return jsonText(text);
    text += value;
  }
  const encoder = new TextEncoder();
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        let isDone = false;
        while (!isDone && text.length < PIECE_SIZE) {
          const { done, value } = await pieces.next();
          isDone = done === true;
          if (!isDone) text += value;
        }
        controller.enqueue(encoder.encode(text));
        text = "";
        if (isDone) controller.close();
      } catch (error) {
        // The status is out: all that is left is to break off, so that the client does not take the rest for all.
        log.error("A sync response broke off", { error: error instanceof Error ? error.stack : String(error) });
        controller.error(error);
      }
    },
    async cancel() {
      await pieces.return?.();
    },
  });
  return new Response(stream, { headers: jsonText("").headers });
}
