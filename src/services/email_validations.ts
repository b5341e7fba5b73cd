/**
 * Proving that an e-mail address is somebody's. Spec: client-server API, "Adding Account Administrative Contact
 * Information", the `requestToken` endpoints.
 *
 * A client asks for a mail and gets a session; opening the mail's link completes it; the client then names session and
 * secret where the proof is needed. A proof is for one purpose only: a link to add an address resets no password.
 */
import type { Clock } from "../lib/clock.ts";
import { equalSecrets, hashSecret } from "../lib/digest.ts";
import { randomString } from "../lib/random.ts";
import { invalidParam, MatrixError } from "../protocol/errors.ts";
import type { UserId } from "../protocol/ids.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  deleteEmailValidation,
  deleteExpiredValidations,
  type EmailValidation,
  selectEmailValidation,
  selectRequestedValidation,
  updateValidated,
  upsertEmailValidation,
  type ValidationPurpose,
} from "../storage/email_validations.ts";
import { selectThreepidOwner } from "../storage/users.ts";
import { isEmailAddress, type ThreepidRules } from "./threepid_rules.ts";
import type { Mailer } from "./mailer.ts";
import type { RateLimits } from "./rate_limits.ts";

/** Options of the configuration, by Synapse's names. */
export interface ValidationOptions {
  readonly publicBaseurl: string;
  readonly validationTokenLifetime: number;
  readonly requestTokenInhibit3pidErrors: boolean;
  /** Where links in mails may lead on to; null for anywhere. */
  readonly nextLinkDomainWhitelist: readonly string[] | null;
  readonly subjects: Readonly<Record<string, string>>;
}

/** What the service is built from. */
export interface EmailValidationsDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly limits: RateLimits;
  /** Null where the server sends no mail. */
  readonly mailer: Mailer | null;
  readonly rules: ThreepidRules;
  readonly options: ValidationOptions;
}

/** A mail as a client asks for it. */
export interface ValidationRequest {
  readonly purpose: ValidationPurpose;
  readonly email: string;
  readonly clientSecret: string;
  readonly sendAttempt: number;
  readonly nextLink: string | null;
  readonly clientIp: string;
}

/** What a client names to show its proof. */
export interface ThreepidCreds {
  readonly sid: string;
  readonly clientSecret: string;
}

/** An address that was proven. */
export interface ProvenAddress {
  readonly medium: "email" | "msisdn";
  readonly sessionId: string;
  readonly address: string;
  readonly validatedTs: number;
}

const SESSION_ID_LENGTH = 24;
const TOKEN_LENGTH = 40;
/** A client has so long to use a proof. */
const PROOF_LIFETIME_MS = 24 * 3_600_000;
const MAX_DISGUISE_MS = 1_000;
/** Spec: "client_secret". */
const CLIENT_SECRET = /^[0-9a-zA-Z.=_-]{1,255}$/;
const MAX_NEXT_LINK_LENGTH = 2_048;

const KINDS: Readonly<Record<ValidationPurpose, { template: string; subject: string; path: string }>> = {
  register: {
    template: "registration",
    subject: "email_validation",
    path: "_matrix/client/unstable/registration/email/submit_token",
  },
  add: {
    template: "add_threepid",
    subject: "email_validation",
    path: "_matrix/client/unstable/add_threepid/email/submit_token",
  },
  reset: {
    template: "password_reset",
    subject: "password_reset",
    path: "_synapse/client/password_reset/email/submit_token",
  },
};

/** Makes and checks proofs. */
export class EmailValidations {
  readonly #deps: EmailValidationsDeps;

  constructor(deps: EmailValidationsDeps) {
    this.#deps = deps;
  }

  /** Whether the server sends mail at all. */
  get isEnabled(): boolean {
    return this.#deps.mailer !== null;
  }

  /** Sends a link to an address and returns the session's id. */
  async request(request: ValidationRequest): Promise<string> {
    const mailer = this.#requireMailer();
    const address = parseEmail(request.email);
    if (!CLIENT_SECRET.test(request.clientSecret)) throw invalidParam("Invalid client_secret");
    const nextLink = this.checkNextLink(request.nextLink);
    this.#deps.limits.check("rc_3pid_validation", `ip ${request.clientIp}`);
    this.#deps.limits.check("rc_3pid_validation", `email ${address}`);
    if (request.purpose === "add") this.#deps.rules.assertMayChange();
    if (request.purpose !== "reset") this.#deps.rules.assertAllowed("email", address);
    const owner = await selectThreepidOwner(this.#deps.db, { medium: "email", address });
    const refusal = refusalOf(request.purpose, owner);
    if (refusal !== null) return await this.#refuse(request, { refusal, address, mailer });
    return await this.#send({ ...request, email: address, nextLink }, mailer);
  }

  /** Completes a session by the token of its link; returns where to go on. Throws 400 for what does not fit. */
  async submit(
    { sid, clientSecret, token, purpose }: ThreepidCreds & { token: string; purpose: ValidationPurpose },
  ): Promise<{ nextLink: string | null }> {
    const { db, clock } = this.#deps;
    const now = clock.now();
    const found = await this.#find({ sid, clientSecret }, purpose);
    if (found === null || !equalSecrets(found.tokenHash, hashSecret(token))) {
      throw new MatrixError(400, "M_UNKNOWN", "the link is not known");
    }
    if (found.tokenExpiresTs <= now && found.validatedTs === null) {
      throw new MatrixError(400, "M_UNKNOWN", "the link has expired");
    }
    await db.transaction((tx) =>
      updateValidated(tx, { sessionId: found.sessionId, validatedTs: now, expiresTs: now + PROOF_LIFETIME_MS })
    );
    return { nextLink: found.nextLink };
  }

  /** Returns the address that a session has proven for a purpose, or null. */
  async proven(creds: ThreepidCreds, purpose: ValidationPurpose): Promise<ProvenAddress | null> {
    const found = await this.#find(creds, purpose);
    if (found === null || found.validatedTs === null) return null;
    return { medium: "email", sessionId: found.sessionId, address: found.address, validatedTs: found.validatedTs };
  }

  /** Ends a session whose proof was used, in the transaction that used it. */
  async consume(tx: Tx, sessionId: string): Promise<void> {
    await deleteEmailValidation(tx, sessionId);
  }

  /** Removes expired sessions. Called by a timer. */
  async expire(): Promise<void> {
    await this.#deps.db.transaction((tx) => deleteExpiredValidations(tx, this.#deps.clock.now()));
  }

  #requireMailer(): Mailer {
    const { mailer } = this.#deps;
    if (mailer !== null) return mailer;
    throw new MatrixError(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "This server does not send e-mail");
  }

  async #find({ sid, clientSecret }: ThreepidCreds, purpose: ValidationPurpose): Promise<EmailValidation | null> {
    const now = this.#deps.clock.now();
    const found = await selectEmailValidation(this.#deps.db, { sessionId: sid.slice(0, 255), now });
    return found !== null && found.purpose === purpose && equalSecrets(found.clientSecret, clientSecret) ? found : null;
  }

  async #refuse(
    { purpose }: ValidationRequest,
    { refusal, address, mailer }: { refusal: MatrixError; address: string; mailer: Mailer },
  ): Promise<string> {
    const { options, clock } = this.#deps;
    if (!options.requestTokenInhibit3pidErrors) throw refusal;
    // Whoever asks must not see whether the address is known; its owner is told.
    if (purpose === "register") {
      await mailer.send({
        to: address,
        subject: mailer.fill(options.subjects.email_already_in_use ?? ""),
        template: "already_in_use",
        vars: {},
      });
    } else {
      await clock.sleep(parseInt(randomString(3, "0123456789"), 10) % MAX_DISGUISE_MS);
    }
    return randomString(SESSION_ID_LENGTH);
  }

  async #send(
    { purpose, email, clientSecret, sendAttempt, nextLink }: Omit<ValidationRequest, "clientIp">,
    mailer: Mailer,
  ): Promise<string> {
    const { db, clock, options } = this.#deps;
    const now = clock.now();
    const before = await selectRequestedValidation(db, { purpose, address: email, clientSecret, now });
    if (before !== null && sendAttempt <= before.sendAttempt) return before.sessionId;
    const sessionId = before?.sessionId ?? randomString(SESSION_ID_LENGTH);
    const token = randomString(TOKEN_LENGTH);
    const tokenExpiresTs = now + options.validationTokenLifetime;
    const { template, subject, path } = KINDS[purpose];
    const query = new URLSearchParams({ token, client_secret: clientSecret, sid: sessionId });
    // What cannot be mailed leaves no trace, so that the same attempt can be made again.
    await mailer.send({
      to: email,
      subject: mailer.fill(options.subjects[subject] ?? ""),
      template,
      vars: { link: `${options.publicBaseurl}${path}?${query}` },
    });
    await db.transaction((tx) =>
      upsertEmailValidation(tx, {
        ...{ sessionId, purpose, address: email, clientSecret, sendAttempt, nextLink, tokenExpiresTs },
        tokenHash: hashSecret(token),
        validatedTs: before?.validatedTs ?? null,
        expiresTs: Math.max(before?.expiresTs ?? 0, tokenExpiresTs),
      })
    );
    return sessionId;
  }

  /** Returns the address to go on to, or null for none. Throws 400 for one that may not be. */
  checkNextLink(link: string | null): string | null {
    if (link === null || link === "") return null;
    const parsed = link.length > MAX_NEXT_LINK_LENGTH ? null : URL.parse(link);
    if (parsed === null || (parsed.protocol !== "https:" && parsed.protocol !== "http:")) {
      throw invalidParam('"next_link" must be a URL of http or https');
    }
    const allowed = this.#deps.options.nextLinkDomainWhitelist;
    if (allowed === null || allowed.includes(parsed.hostname)) return parsed.href;
    throw invalidParam('"next_link" leads to a domain that is not allowed');
  }
}

/** Returns an address in the form it is stored in; throws 400 for what is none. */
export function parseEmail(text: string): string {
  const address = text.trim().toLowerCase();
  if (!isEmailAddress(address)) throw invalidParam("Invalid e-mail address");
  return address;
}

function refusalOf(purpose: ValidationPurpose, owner: UserId | null): MatrixError | null {
  if (purpose === "reset") {
    return owner === null ? new MatrixError(400, "M_THREEPID_NOT_FOUND", "No account has this e-mail address") : null;
  }
  return owner === null ? null : threepidInUse();
}

/** 400: the address belongs to another account. */
export function threepidInUse(): MatrixError {
  return new MatrixError(400, "M_THREEPID_IN_USE", "This e-mail address or phone number is already in use");
}
