/** The body that registering and logging in answer with. */
import type { JsonObject } from "../../protocol/json.ts";
import type { DeviceId, ServerName, UserId } from "../../protocol/ids.ts";
import type { IssuedTokens } from "../../services/tokens.ts";

/** What a new session is described by. */
export interface NewSession {
  readonly userId: UserId;
  readonly serverName: ServerName;
  readonly login: { readonly deviceId: DeviceId; readonly tokens: IssuedTokens } | null;
}

/** Returns the body; without a login it names the user only. */
export function sessionJson({ userId, serverName, login }: NewSession): JsonObject {
  // Deprecated in the spec, and still read by old clients.
  const body: JsonObject = { user_id: userId, home_server: serverName };
  if (login === null) return body;
  return { ...body, device_id: login.deviceId, ...tokensJson(login.tokens) };
}

/** Returns tokens as the wire has them. */
export function tokensJson({ accessToken, refreshToken, expiresInMs }: IssuedTokens): JsonObject {
  return {
    access_token: accessToken,
    ...(refreshToken === null ? {} : { refresh_token: refreshToken }),
    ...(expiresInMs === null ? {} : { expires_in_ms: expiresInMs }),
  };
}
