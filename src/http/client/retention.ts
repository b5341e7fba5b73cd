/**
 * What the server's rules for old messages are (MSC1763).
 *   GET /_matrix/client/unstable/org.matrix.msc1763/retention/configuration
 */
import type { RetentionOptions } from "../../rooms/retention_policies.ts";
import { type App, client } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { json } from "../middleware/responses.ts";

/** Registers the endpoint. */
export function retentionRoutes(app: App, { auth, options }: { auth: Auth; options: RetentionOptions }): void {
  const { defaultPolicy, allowedLifetimeMin, allowedLifetimeMax } = options;
  const policy = known({ min_lifetime: defaultPolicy.minLifetime, max_lifetime: defaultPolicy.maxLifetime });
  const limits = known({ min: allowedLifetimeMin, max: allowedLifetimeMax });
  const answer = {
    policies: Object.keys(policy).length === 0 ? {} : { "*": policy },
    limits: Object.keys(limits).length === 0 ? {} : { max_lifetime: limits },
  };
  client(app, ["unstable/org.matrix.msc1763"]).get("/retention/configuration", auth.user(), () => json(answer));
}

function known(values: Readonly<Record<string, number | null>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, number] => entry[1] !== null),
  );
}
