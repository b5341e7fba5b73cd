/**
 * Reports, as in Synapse's admin API. All paths are below `/_synapse/admin/v1`.
 *   GET        /event_reports, /user_reports
 *   GET|DELETE /event_reports/{reportId}, /user_reports/{reportId}
 */
import { z } from "zod";
import { invalidParam } from "../../protocol/errors.ts";
import type { ReportAdmin } from "../../services/report_admin.ts";
import { type App, type Ctx, plain } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { intParam, pathText, query } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface ReportAdminRoutesDeps {
  readonly auth: Auth;
  readonly reportAdmin: ReportAdmin;
}

const MAX_PAGE = 1_000;
const DEFAULT_PAGE = 100;
const Page = {
  from: intParam().optional(),
  limit: intParam().optional(),
  dir: z.enum(["f", "b"]).optional(),
  user_id: z.string().max(255).optional(),
};
const EventsQuery = z.object({
  ...Page,
  room_id: z.string().max(255).optional(),
  event_sender_user_id: z.string().max(255).optional(),
});
const UsersQuery = z.object({ ...Page, target_user_id: z.string().max(255).optional() });

/** Registers the endpoints. */
export function reportAdminRoutes(app: App, { auth, reportAdmin }: ReportAdminRoutesDeps): void {
  plain(app, "/_synapse/admin/v1")
    .get("/event_reports", auth.admin(), async (c) => {
      const params = query(c, EventsQuery);
      const page = pageOf(params);
      const { room_id: roomId = "", event_sender_user_id: sender = "" } = params;
      const { reports, total } = await reportAdmin.listEvents({ ...page, roomId, sender });
      return json({ event_reports: reports, total, ...nextOf(page, { count: reports.length, total }) });
    })
    .get("/event_reports/:reportId", auth.admin(), async (c) => json(await reportAdmin.getEvent(reportIdOf(c))))
    .delete("/event_reports/:reportId", auth.admin(), async (c) => {
      await reportAdmin.deleteEvent(reportIdOf(c));
      return json({});
    })
    .get("/user_reports", auth.admin(), async (c) => {
      const params = query(c, UsersQuery);
      const page = pageOf(params);
      const { reports, total } = await reportAdmin.listUsers({ ...page, reportedUser: params.target_user_id ?? "" });
      return json({ user_reports: reports, total, ...nextOf(page, { count: reports.length, total }) });
    })
    .get("/user_reports/:reportId", auth.admin(), async (c) => json(await reportAdmin.getUser(reportIdOf(c))))
    .delete("/user_reports/:reportId", auth.admin(), async (c) => {
      await reportAdmin.deleteUser(reportIdOf(c));
      return json({});
    });
}

interface Position {
  readonly from: number;
  readonly limit: number;
}

function pageOf(
  { from = 0, limit = DEFAULT_PAGE, dir = "b", user_id: reporter = "" }: z.output<typeof UsersQuery>,
): Position & { reporter: string; backward: boolean } {
  return { reporter, backward: dir === "b", from, limit: Math.min(limit, MAX_PAGE) };
}

function nextOf(
  { from, limit }: Position,
  { count, total }: { count: number; total: number },
): { next_token?: number } {
  return from + limit < total ? { next_token: from + count } : {};
}

function reportIdOf(c: Ctx): number {
  const text = pathText(c, "reportId");
  if (!/^[0-9]{1,15}$/.test(text)) {
    throw invalidParam("The report_id parameter must be a string representing a positive integer.");
  }
  return Number(text);
}
