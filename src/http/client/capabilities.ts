/**
 * What users may do here. Spec: client-server API, "Capabilities negotiation".
 *   GET /_matrix/client/v3/capabilities
 */
import type { JsonObject } from "../../protocol/json.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { json } from "../middleware/responses.ts";

/** What the route is built from. */
export interface CapabilityRoutesDeps {
  readonly auth: Auth;
  readonly options: CapabilityOptions;
  /** Room versions by id: `stable` or `unstable`. */
  readonly roomVersions: Readonly<Record<string, "stable" | "unstable">>;
  readonly defaultRoomVersion: string;
}

/** Options of the configuration, by Synapse's names. */
export interface CapabilityOptions {
  readonly enableSetDisplayname: boolean;
  readonly enableSetAvatarUrl: boolean;
  readonly passwordConfig: { readonly enabled: boolean | "only_for_reauth"; readonly localdbEnabled: boolean };
  /** How long and how many events may be delayed; null where they may not be. */
  readonly delayedEvents: JsonObject | null;
  readonly loginViaExistingSession: { readonly enabled: boolean };
  readonly enable3pidChanges: boolean;
  readonly forgetRoomsOnLeave: boolean;
  /** Whether any kind of address can be validated. */
  readonly mayAddAddresses: boolean;
}

/** Registers the endpoint. */
export function capabilityRoutes(app: App, deps: CapabilityRoutesDeps): void {
  const capabilities = capabilitiesOf(deps);
  const ofAdmins = { ...capabilities, "m.account_moderation": { lock: true, suspend: true } };
  client(app).get(
    "/capabilities",
    deps.auth.guestOk(),
    (c) => json({ capabilities: requester(c).isAdmin ? ofAdmins : capabilities }),
  );
}

function capabilitiesOf({ options, roomVersions, defaultRoomVersion }: CapabilityRoutesDeps): JsonObject {
  const { enableSetDisplayname, enableSetAvatarUrl, passwordConfig } = options;
  const fixed = [
    ...(enableSetDisplayname ? [] : ["displayname"]),
    ...(enableSetAvatarUrl ? [] : ["avatar_url"]),
  ];
  const profileFields = fixed.length === 0 ? { enabled: true } : { enabled: true, disallowed: fixed };
  return {
    "m.room_versions": { default: defaultRoomVersion, available: { ...roomVersions } },
    "m.change_password": { enabled: passwordConfig.enabled !== false && passwordConfig.localdbEnabled },
    "m.set_displayname": { enabled: enableSetDisplayname },
    "m.set_avatar_url": { enabled: enableSetAvatarUrl },
    "m.profile_fields": profileFields,
    // The name it had before, as clients still ask for it: https://github.com/matrix-org/matrix-spec-proposals/pull/4133
    "uk.tcpip.msc4133.profile_fields": profileFields,
    "m.3pid_changes": { enabled: options.mayAddAddresses && options.enable3pidChanges },
    "m.forget_forced_upon_leave": { enabled: options.forgetRoomsOnLeave },
    ...(options.delayedEvents === null ? {} : { "org.matrix.msc4140.delayed_events": options.delayedEvents }),
    "m.get_login_token": { enabled: options.loginViaExistingSession.enabled },
  };
}
