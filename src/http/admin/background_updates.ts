/**
 * Work on the whole database, as in Synapse's admin API. All paths are below `/_synapse/admin/v1/background_updates`.
 *   GET|POST /enabled
 *   GET      /status
 *   POST     /start_job
 */
import { z } from "zod";
import { MatrixError } from "../../protocol/errors.ts";
import type { BackgroundUpdates } from "../../services/background_updates.ts";
import { type App, plain } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson, readJsonObject } from "../middleware/body.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface BackgroundUpdateRoutesDeps {
  readonly auth: Auth;
  readonly backgroundUpdates: BackgroundUpdates;
}

const JobBody = z.looseObject({ job_name: z.string().max(255) });

/** Registers the endpoints. */
export function backgroundUpdateRoutes(app: App, { auth, backgroundUpdates }: BackgroundUpdateRoutesDeps): void {
  plain(app, "/_synapse/admin/v1/background_updates")
    .get("/enabled", auth.admin(), () => json({ enabled: backgroundUpdates.isEnabled }))
    .post("/enabled", auth.admin(), async (c) => {
      const { enabled = true } = await readJsonObject(c);
      if (typeof enabled !== "boolean") {
        throw new MatrixError(400, "M_UNKNOWN", "'enabled' parameter must be a boolean");
      }
      backgroundUpdates.enable(enabled);
      return json({ enabled });
    })
    .get("/status", auth.admin(), () => json(backgroundUpdates.status()))
    .post("/start_job", auth.admin(), async (c) => {
      await backgroundUpdates.startJob((await readJson(c, JobBody)).job_name);
      return json({});
    });
}
