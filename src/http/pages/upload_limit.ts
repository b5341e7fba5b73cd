/**
 * What users are shown who may upload no more for now, where `media_upload_limits` names no page. The path is Synapse's.
 *   GET /_synapse/client/media_upload_limit_exceeded
 */
import { UPLOAD_LIMIT_PAGE } from "../../media/uploads.ts";
import { type App, plain } from "../app.ts";
import type { Pages } from "./page.ts";

/** Registers the endpoint. */
export function uploadLimitRoutes(app: App, { pages }: { pages: Pages }): void {
  plain(app).get(`/${UPLOAD_LIMIT_PAGE}`, () => pages.show("media_upload_limit_exceeded.html"));
}
