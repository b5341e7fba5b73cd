/** User-interactive authentication for endpoints that act on the requester's own account. */
import { z } from "zod";
import type { JsonObject } from "../../protocol/json.ts";
import type { Uia, UiaOutcome, UiaRequest } from "../../services/uia.ts";
import { type Ctx, requester, sessionOf } from "../app.ts";

/** A body that may hold authentication, where none is asked for. */
export const UiaBody = z.looseObject({
  auth: z.looseObject({ type: z.string().nullish(), session: z.string().nullish() }).nullish(),
});

/** Further conditions; see `UiaRequest`. */
export type UiaConditions = Pick<UiaRequest, "action" | "secretKeys" | "allowRecent">;

/** Runs `work` once the requester has proven who they are; goes after an `auth` guard. */
export async function requirePassword<T>(
  c: Ctx,
  { uia, body, conditions, work }: {
    uia: Uia;
    body: JsonObject;
    conditions: UiaConditions;
    work: (outcome: UiaOutcome) => Promise<T>;
  },
): Promise<T> {
  const session = sessionOf(c);
  if (session !== null && session.requester.appserviceId !== null) {
    // An application service proves itself by its token; its users have no password.
    const { auth: _, ...own } = body;
    return await work({ body: own, proofs: {}, previous: null, remember: () => Promise.resolve() });
  }
  const flows = await uia.ownFlows(requester(c).userId);
  const request = { ...conditions, flows, session, body, clientIp: c.env.clientIp };
  return await uia.require(request, work);
}
