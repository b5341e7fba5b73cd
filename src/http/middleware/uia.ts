/** User-interactive authentication for endpoints that act on the requester's own account. */
import type { JsonObject } from "../../protocol/json.ts";
import type { Stage, Uia, UiaOutcome, UiaRequest } from "../../services/uia.ts";
import { type Ctx, sessionOf } from "../app.ts";

/** The one flow of users who have an account: they prove it with their password. */
const PASSWORD_FLOWS: readonly (readonly Stage[])[] = [["m.login.password"]];

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
  const request = { ...conditions, flows: PASSWORD_FLOWS, session, body, clientIp: c.env.clientIp };
  return await uia.require(request, work);
}
