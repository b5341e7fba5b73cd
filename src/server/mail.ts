/** Templates, mails, and the proofs of addresses that mails make. */
import type { Config } from "../config/config.ts";
import { sendBounded } from "../lib/bounded_request.ts";
import { getLogger } from "../lib/log.ts";
import { reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";
import { Captcha } from "../services/captcha.ts";
import { EmailValidations } from "../services/email_validations.ts";
import { Mailer } from "../services/mailer.ts";
import { PhoneValidations } from "../services/phone_validations.ts";
import type { RateLimits } from "../services/rate_limits.ts";
import { readOwnTemplates, Templates } from "../services/templates.ts";
import { ThreepidRules } from "../services/threepid_rules.ts";
import type { TermsPolicy } from "../services/uia_stages.ts";
import type { Core } from "./core.ts";

/** What pages and mails are made with. */
export interface MailParts {
  readonly templates: Templates;
  /** Null where the server sends no mail. */
  readonly mailer: Mailer | null;
}

/** Reads the templates of the operator and what mails need. Throws `StartupError` for files that cannot be read. */
export async function openMail(config: Config): Promise<MailParts> {
  const { serverName, publicBaseurl, email: { email } } = config;
  const own = await readOwnTemplates(config.blocking.templates.customTemplateDirectory);
  const templates = new Templates({ serverName, publicBaseurl, own });
  if (email === null) return { templates, mailer: null };
  const trusted = email.smtpCaFile === null ? null : await readAuthorities(email.smtpCaFile);
  const options = { ...email, notifFrom: email.notifFrom ?? "" };
  const log = getLogger("synapse.handlers.send_email");
  return { templates, mailer: new Mailer({ options, serverName, templates, log, trusted }) };
}

/** Builds what sends and checks the links of mails, and has phone numbers validated. */
export function buildValidations(
  { config, db, clock, mail }: Core,
  limits: RateLimits,
): { rules: ThreepidRules; validations: EmailValidations; phones: PhoneValidations } {
  const { blocking, registration, email: { email }, publicBaseurl } = config;
  const rules = new ThreepidRules(registration);
  const options = {
    publicBaseurl,
    requestTokenInhibit3pidErrors: blocking.requestTokenInhibit3pidErrors,
    nextLinkDomainWhitelist: blocking.nextLinkDomainWhitelist,
    validationTokenLifetime: email?.validationTokenLifetime ?? 0,
    subjects: email?.subjects ?? {},
  };
  const validations = new EmailValidations({ db, clock, limits, mailer: mail.mailer, rules, options });
  const phones = new PhoneValidations({
    ...{ db, clock, limits, rules, send: sendBounded, log: getLogger("synapse.handlers.identity") },
    options: { ...options, delegate: registration.accountThreepidDelegates.msisdn },
  });
  return { rules, validations, phones };
}

/** Builds the captcha of registrations; null where there is none. */
export function buildCaptcha({ captcha }: Config): Captcha | null {
  const { enableRegistrationCaptcha, recaptchaPublicKey, recaptchaPrivateKey } = captcha;
  if (!enableRegistrationCaptcha || recaptchaPublicKey === null || recaptchaPrivateKey === null) return null;
  return new Captcha({
    publicKey: recaptchaPublicKey,
    privateKey: recaptchaPrivateKey,
    verifyUrl: captcha.recaptchaSiteverifyApi,
    log: getLogger("synapse.handlers.auth"),
  });
}

/** Returns the terms that new users must agree to; null where there are none. */
export function registrationTerms({ rooms: { userConsent }, publicBaseurl }: Config): TermsPolicy | null {
  if (userConsent === null || !userConsent.requireAtRegistration) return null;
  const version = String(userConsent.version);
  const url = `${publicBaseurl}_matrix/consent?v=${encodeURIComponent(version)}`;
  return { version, name: userConsent.policyName, url };
}

async function readAuthorities(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new StartupError(`Cannot read the certificates ${path} of "email.smtp_ca_file": ${reasonOf(error)}`);
  }
}
