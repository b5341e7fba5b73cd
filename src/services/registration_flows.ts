/**
 * Through which stages a registration may go, by the configuration.
 *
 * What an operator demands is part of every flow; an address may be given where it is not demanded, by a flow of its
 * own. The order is Synapse's.
 */
import type { Stage } from "./uia.ts";

/** Options of the configuration, by Synapse's names. */
export interface FlowOptions {
  readonly registrationRequiresToken: boolean;
  readonly registrationsRequire3pid: readonly string[];
  readonly enableRegistrationCaptcha: boolean;
  readonly enableRegistrationToken3pidBypass: boolean;
  /** Whether terms must be agreed to: `user_consent.require_at_registration`. */
  readonly requireTerms: boolean;
  /** Whether the server can send mail. */
  readonly hasEmail: boolean;
  /** Whether phone numbers can be validated. */
  readonly hasPhones: boolean;
  readonly disableMsisdnRegistration: boolean;
}

const DUMMY: Stage = "m.login.dummy";
const EMAIL: Stage = "m.login.email.identity";
const PHONE: Stage = "m.login.msisdn";
const TOKEN: Stage = "m.login.registration_token";

/** Returns the flows; any one of them will do. */
export function registrationFlows(options: FlowOptions): Stage[][] {
  const { registrationRequiresToken, registrationsRequire3pid, requireTerms, hasEmail } = options;
  const requiresEmail = registrationsRequire3pid.includes("email");
  const showsPhone = options.hasPhones && !options.disableMsisdnRegistration;
  const requiresPhone = showsPhone && registrationsRequire3pid.includes("msisdn");
  const cores: Stage[][] = [];
  if (!requiresEmail && !requiresPhone) cores.push([DUMMY]);
  if (hasEmail && !requiresPhone) cores.push([EMAIL]);
  if (showsPhone && !requiresEmail) cores.push([PHONE]);
  if (hasEmail && showsPhone) cores.push([PHONE, EMAIL]);
  const flows = cores.map((core) => [
    ...(registrationRequiresToken ? [TOKEN] : []),
    ...(options.enableRegistrationCaptcha ? ["m.login.recaptcha"] : []),
    ...core,
    ...(requireTerms ? ["m.login.terms"] : []),
  ]);
  if ((requiresEmail || requiresPhone) && options.enableRegistrationToken3pidBypass) {
    flows.push([TOKEN, DUMMY, ...(requireTerms ? ["m.login.terms"] : [])]);
  }
  return flows;
}
