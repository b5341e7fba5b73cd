/** What other options are where the Matrix Authentication Service has the accounts. */
import type { SectionValues } from "./config.ts";
import { isMap, type OptionPath, type Report } from "./schema.ts";

type Raw = Readonly<Record<string, unknown>>;

/** Returns the configuration with the defaults that options then have. */
export function withMasDefaults(raw: Raw): Record<string, unknown> {
  const service = raw.matrix_authentication_service;
  if (!isMap(service) || service.enabled !== true) return { ...raw };
  const password = isMap(raw.password_config) ? raw.password_config : {};
  return { enable_3pid_changes: false, ...raw, password_config: { enabled: false, ...password } };
}

/** Reports what the service does in the place of this server, and options that would have both do it. */
export function checkMas(values: SectionValues, report: Report): void {
  const { enabled, secret, endpoint } = values.server.matrixAuthenticationService;
  if (!enabled) return;
  if (!secret) report.problem(["matrix_authentication_service", "secret"], "is missing");
  if (!URL.canParse(endpoint)) report.problem(["matrix_authentication_service", "endpoint"], "must be an address");
  const { registration, captcha, sessions, passwords, sso, rooms } = values;
  const conflicts: readonly (readonly [boolean, OptionPath])[] = [
    [passwords.passwordConfig.enabled !== false, ["password_config", "enabled"]],
    [registration.enableRegistration, ["enable_registration"]],
    [registration.enable3pidChanges, ["enable_3pid_changes"]],
    [rooms.userConsent !== null, ["user_consent"]],
    [captcha.enableRegistrationCaptcha, ["enable_registration_captcha"]],
    [sessions.loginViaExistingSession.enabled, ["login_via_existing_session", "enabled"]],
    [sessions.sessionLifetime !== null, ["session_lifetime"]],
    [sessions.refreshTokenLifetime !== null, ["refresh_token_lifetime"]],
    [sessions.nonrefreshableAccessTokenLifetime !== null, ["nonrefreshable_access_token_lifetime"]],
    [sso.oidcProviders.length > 0, ["oidc_providers"]],
    [sso.casConfig?.enabled === true, ["cas_config"]],
    [sso.jwtConfig?.enabled === true, ["jwt_config"]],
  ];
  for (const [isSet, path] of conflicts) {
    if (isSet) report.problem(path, 'cannot be used with "matrix_authentication_service"');
  }
}
