/**
 * What the server speaks. Spec: client-server API, "API Versions".
 *   GET /_matrix/client/versions
 */
import type { UserId } from "../../protocol/ids.ts";
import type { JsonObject } from "../../protocol/json.ts";
import { type App, plain, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { jsonText } from "../middleware/responses.ts";

/** Versions of the specification whose client-server API works here. */
const SPEC_VERSIONS = [
  "r0.0.1",
  "r0.1.0",
  "r0.2.0",
  "r0.3.0",
  "r0.4.0",
  "r0.5.0",
  "r0.6.0",
  "r0.6.1",
  "v1.1",
  "v1.2",
  "v1.3",
  "v1.4",
  "v1.5",
  "v1.6",
  "v1.7",
  "v1.8",
  "v1.9",
  "v1.10",
  "v1.11",
  "v1.12",
  "v1.13",
  "v1.14",
  "v1.15",
  "v1.16",
  "v1.17",
  "v1.18",
  "v1.19",
] as const;

/** Features under the names they had before they were in the specification. */
const STABLE_FEATURES: Readonly<Record<string, boolean>> = {
  "com.beeper.msc4446": true,
  "fi.mau.msc2659.stable": true,
  "fi.mau.msc2815": true,
  "org.matrix.e2e_cross_signing": true,
  "org.matrix.label_based_filtering": true,
  "org.matrix.msc2285.stable": true,
  "org.matrix.msc2432": true,
  "org.matrix.msc3030": true,
  "org.matrix.msc3391": true,
  "org.matrix.msc3440.stable": true,
  "org.matrix.msc3771": true,
  "org.matrix.msc3814": true,
  "org.matrix.msc3827.stable": true,
  "org.matrix.msc3856": true,
  "org.matrix.msc3874": true,
  "org.matrix.msc3981": true,
  "org.matrix.msc4143": true,
  "org.matrix.msc4151.stable": true,
  "org.matrix.msc4155": true,
  "org.matrix.msc4222": true,
  "org.matrix.msc4262": true,
  "org.matrix.msc4380.stable": true,
  "uk.half-shot.msc2666.query_mutual_rooms": true,
  "uk.half-shot.msc2666.query_mutual_rooms.stable": true,
  "uk.tcpip.msc4133": true,
  "uk.tcpip.msc4133.stable": true,
};

/** What the route is built from. */
export interface VersionRoutesDeps {
  /** Features that depend on the configuration. */
  readonly unstableFeatures: Readonly<Record<string, boolean>>;
  readonly auth: Auth;
  /** Features that may be switched on for some users only. */
  readonly featuresOf: (userId: UserId) => Promise<Readonly<Record<string, boolean>>>;
}

/** Registers the endpoint. */
export function versionRoutes(app: App, { unstableFeatures, auth, featuresOf }: VersionRoutesDeps): void {
  const forAll = { ...STABLE_FEATURES, ...unstableFeatures };
  const textOf = (unstable_features: JsonObject) => JSON.stringify({ versions: SPEC_VERSIONS, unstable_features });
  const text = textOf(forAll);
  plain(app).get("/_matrix/client/versions", auth.optional(), async (c) => {
    if (c.env.session === null) return jsonText(text);
    return jsonText(textOf({ ...forAll, ...await featuresOf(requester(c).userId) }));
  });
}
