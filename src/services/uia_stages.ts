/** The stages of user-interactive authentication. Spec: client-server API, "Authentication types". */
import type { Clock } from "../lib/clock.ts";
import { forbidden } from "../protocol/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import type { Db } from "../storage/database.ts";
import {
  releaseRegistrationToken,
  reserveRegistrationToken,
  selectRegistrationToken,
} from "../storage/registration_tokens.ts";
import type { Captcha } from "./captcha.ts";
import type { Credentials } from "./credentials.ts";
import type { EmailValidations, ProvenAddress } from "./email_validations.ts";
import type { PhoneValidations } from "./phone_validations.ts";
import type { Stage, StageCheck, Verdict } from "./uia.ts";

/** What the stages are built from. */
export interface StageDeps {
  readonly db: Db;
  readonly clock: Clock;
  readonly credentials: Credentials;
  readonly validations: EmailValidations;
  readonly phones: PhoneValidations;
  /** Null where there are none. */
  readonly captcha: Captcha | null;
  /** Null where users need not agree to terms. */
  readonly terms: TermsPolicy | null;
  /** Whether there are identity providers. */
  readonly hasSso: boolean;
}

/** The terms of the server, as a client shows them. */
export interface TermsPolicy {
  readonly version: string;
  readonly name: string;
  readonly url: string;
}

/** Returns the stages this server can check. */
export function uiaStages(deps: StageDeps): Readonly<Record<Stage, StageCheck>> {
  return {
    "m.login.dummy": { verify: () => Promise.resolve({ passed: true, proof: true }) },
    "m.login.email.identity": addressStage(deps.validations),
    ...(deps.phones.isEnabled ? { "m.login.msisdn": addressStage(deps.phones) } : {}),
    "m.login.password": passwordStage(deps),
    ...(deps.captcha === null ? {} : { "m.login.recaptcha": captchaStage(deps.captcha) }),
    "m.login.registration_token": registrationTokenStage(deps),
    ...(deps.hasSso ? { "m.login.sso": ssoStage() } : {}),
    ...(deps.terms === null ? {} : { "m.login.terms": termsStage(deps.terms) }),
  };
}

function fail(error: string): Verdict {
  return { passed: false, errcode: "M_FORBIDDEN", error };
}

/** Users prove themselves at their provider, where the page of this stage leads: `Uia.settleOnPage` notes it. */
function ssoStage(): StageCheck {
  return { verify: () => Promise.resolve(fail("Not yet confirmed at the identity provider")) };
}

function passwordStage({ credentials }: StageDeps): StageCheck {
  return {
    async verify(auth, { userId }) {
      if (userId === null || typeof auth.password !== "string") return fail("Invalid password");
      const named = hasIdentifier(auth) ? await credentials.identify(auth) : userId;
      if (named !== userId) throw forbidden("The authenticated user is not the one who asks");
      const user = await credentials.verify(userId, { password: auth.password, key: userId });
      return user === null ? fail("Invalid password") : { passed: true, proof: userId };
    },
  };
}

function hasIdentifier(auth: JsonObject): boolean {
  return auth.identifier !== undefined || auth.user !== undefined || auth.medium !== undefined;
}

/** The action of registrations, whose addresses are proven for just that; see `EmailValidations`. */
export const REGISTER_ACTION = "POST /register";

/** The stages that prove addresses. */
const ADDRESS_STAGES = { email: "m.login.email.identity", msisdn: "m.login.msisdn" } as const;

/** Returns the addresses that stages have proven. */
export function provenAddresses(proofs: Readonly<Record<Stage, JsonValue>>): ProvenAddress[] {
  const proven: ProvenAddress[] = [];
  for (const medium of ["email", "msisdn"] as const) {
    const proof = proofs[ADDRESS_STAGES[medium]];
    if (!isJsonObject(proof)) continue;
    const { sessionId, address, validatedTs } = proof;
    proven.push({
      ...{ medium, sessionId: String(sessionId), address: String(address) },
      validatedTs: Number(validatedTs),
    });
  }
  return proven;
}

function addressStage(validations: Pick<EmailValidations, "proven">): StageCheck {
  return {
    async verify(auth, { action }) {
      // The second name is from before the specification; clients still send it.
      const creds = auth.threepid_creds ?? auth.threepidCreds;
      if (!isJsonObject(creds)) return { passed: false, errcode: "M_MISSING_PARAM", error: "Missing threepid_creds" };
      const { sid, client_secret: clientSecret } = creds;
      if (typeof sid !== "string" || typeof clientSecret !== "string") {
        return { passed: false, errcode: "M_BAD_JSON", error: "Invalid threepid_creds" };
      }
      const purpose = action === REGISTER_ACTION ? "register" : "reset";
      const proven = await validations.proven({ sid, clientSecret }, purpose);
      if (proven !== null) return { passed: true, proof: { ...proven } };
      return { passed: false, errcode: "M_UNAUTHORIZED", error: "The address has not been validated yet" };
    },
  };
}

function captchaStage(captcha: Captcha): StageCheck {
  return {
    params: { public_key: captcha.publicKey },
    async verify(auth, { clientIp }) {
      const { response } = auth;
      if (typeof response !== "string" || response === "") {
        return { passed: false, errcode: "M_CAPTCHA_NEEDED", error: "Captcha response is required" };
      }
      if (await captcha.check({ response, clientIp })) return { passed: true, proof: true };
      return { passed: false, errcode: "M_CAPTCHA_INVALID", error: "The captcha was not solved" };
    },
  };
}

function termsStage({ version, name, url }: TermsPolicy): StageCheck {
  return {
    params: { policies: { privacy_policy: { version, en: { name, url } } } },
    verify: () => Promise.resolve({ passed: true, proof: version }),
  };
}

function registrationTokenStage({ db, clock }: StageDeps): StageCheck {
  return {
    async verify(auth) {
      if (typeof auth.token !== "string") return fail("Missing registration token");
      const token = await selectRegistrationToken(db, auth.token.slice(0, 64));
      if (token === null) return { passed: false, errcode: "M_UNAUTHORIZED", error: "Invalid registration token" };
      return { passed: true, proof: token.token };
    },
    async commit(tx, proof) {
      return await reserveRegistrationToken(tx, { token: String(proof), now: clock.now() });
    },
    async release(tx, proof) {
      await releaseRegistrationToken(tx, String(proof));
    },
  };
}
