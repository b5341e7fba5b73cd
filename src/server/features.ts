/** What `/versions` says of proposals. Spec: client-server API, "API Versions". */
import type { Core } from "./core.ts";
import type { UserId } from "../protocol/ids.ts";
import type { UserFeatures } from "../services/user_features.ts";
import { rendezvousModes } from "./rendezvous.ts";

/** Returns the features whose being there depends on the configuration. */
export function configuredFeatures(config: Core["config"]): Record<string, boolean> {
  const { experimental: { experimentalFeatures }, rooms, server, sessions } = config;
  const { msc4108, msc4388 } = rendezvousModes(config);
  const encrypted = rooms.encryptionEnabledByDefaultForRoomType;
  return {
    "io.element.e2ee_forced.private": encrypted !== "off",
    "io.element.e2ee_forced.public": encrypted === "all",
    "io.element.e2ee_forced.trusted_private": encrypted !== "off",
    "io.element.msc4388": msc4388 !== null,
    "org.matrix.msc2836": experimentalFeatures.isEnabled("msc2836_enabled"),
    "org.matrix.msc3881": experimentalFeatures.isEnabled("msc3881_enabled"),
    "org.matrix.msc3882": sessions.loginViaExistingSession.enabled,
    "org.matrix.msc3912": experimentalFeatures.isEnabled("msc3912_enabled"),
    "org.matrix.msc4108": msc4108 !== null,
    "org.matrix.msc4140": server.maxEventDelayDuration !== null,
    "org.matrix.msc4306": experimentalFeatures.isEnabled("msc4306_enabled"),
    "org.matrix.msc4354": experimentalFeatures.isEnabled("msc4354_enabled"),
    "org.matrix.simplified_msc3575": experimentalFeatures.isEnabled("msc3575_enabled"),
  };
}

/** Returns the features that may be switched on for some users only, as they are for one. */
export async function featuresOf(features: UserFeatures, userId: UserId): Promise<Record<string, boolean>> {
  return {
    "org.matrix.msc3881": await features.isOn("msc3881", userId),
    "org.matrix.simplified_msc3575": await features.isOn("msc3575", userId),
  };
}
