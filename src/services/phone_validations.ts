/**
 * Proving that a phone number is somebody's, which an identity server of the operator's choice does: it sends the text
 * message and says whether its code came back. Option `account_threepid_delegates.msisdn`, as Synapse has it.
 *
 * Such a session would prove the number for anything. What it was opened for is noted here, so that the code for adding a
 * number resets no password, and a proof is good once.
 */
import type { SendBounded } from "../lib/bounded_request.ts";
import type { Clock } from "../lib/clock.ts";
import { describeError } from "../lib/describe_error.ts";
import type { Logger } from "../lib/log.ts";
import { parsePhoneNumber } from "../lib/phone_numbers.ts";
import { randomString } from "../lib/random.ts";
import { type Errcode, invalidParam, limitExceeded, MatrixError } from "../protocol/errors.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import type { Database, Tx } from "../storage/database.ts";
import type { ValidationPurpose } from "../storage/email_validations.ts";
import {
  deleteExpiredPhoneValidations,
  deletePhoneValidation,
  hasPhoneValidation,
  upsertPhoneValidation,
} from "../storage/phone_validations.ts";
import { selectThreepidOwner } from "../storage/users.ts";
import type { ProvenAddress, ThreepidCreds } from "./email_validations.ts";
import type { RateLimits } from "./rate_limits.ts";
import type { ThreepidRules } from "./threepid_rules.ts";

/** What the service is built from. */
export interface PhoneValidationsDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly limits: RateLimits;
  readonly rules: ThreepidRules;
  readonly send: SendBounded;
  readonly log: Logger;
  readonly options: {
    /** The address of the identity server; null where there is none. */
    readonly delegate: string | null;
    /** With a slash at its end. */
    readonly publicBaseurl: string;
    readonly requestTokenInhibit3pidErrors: boolean;
  };
}

/** A text message as a client asks for it. */
export interface PhoneRequest {
  readonly purpose: ValidationPurpose;
  readonly country: string;
  readonly phoneNumber: string;
  readonly clientSecret: string;
  readonly sendAttempt: number;
  /** Checked by the caller. */
  readonly nextLink: string | null;
  readonly clientIp: string;
}

const API = "/_matrix/identity/api/v1";
const SUBMIT_PATH = "_matrix/client/unstable/add_threepid/msisdn/submit_token";
/** Spec: "client_secret" and "sid". */
const OPAQUE = /^[0-9a-zA-Z.=_-]{1,255}$/;
const MSISDN = /^[0-9]{4,20}$/;
const SESSION_LIFETIME_MS = 24 * 3_600_000;
const DISGUISE_MS = { min: 100, spread: 900 };
const SESSION_ID_LENGTH = 16;
const RETRY_MS = 60_000;
/** What identity servers say of numbers. What else they say, such as of tokens, is not about the client. */
const PASSED_ON: ReadonlySet<string> = new Set(["M_INVALID_PARAM", "M_MISSING_PARAM"]);

/** Has phone numbers proven. */
export class PhoneValidations {
  readonly #deps: PhoneValidationsDeps;

  constructor(deps: PhoneValidationsDeps) {
    this.#deps = deps;
  }

  /** Whether numbers can be proven at all. */
  get isEnabled(): boolean {
    return this.#deps.options.delegate !== null;
  }

  /** Has a code sent to a number and returns the response body. */
  async request(request: PhoneRequest): Promise<JsonObject> {
    const { purpose, country, phoneNumber, clientSecret, sendAttempt, nextLink, clientIp } = request;
    this.#requireDelegate();
    if (!OPAQUE.test(clientSecret)) throw invalidParam("Invalid client_secret");
    const address = await parsePhoneNumber(phoneNumber, country);
    if (address === null) throw invalidParam("Unable to parse phone number");
    const { limits, rules, db } = this.#deps;
    if (purpose === "add") rules.assertMayChange();
    if (purpose !== "reset") rules.assertAllowed("msisdn", address);
    limits.check("rc_3pid_validation", `ip ${clientIp}`);
    limits.check("rc_3pid_validation", `msisdn ${address}`);
    const refusal = refusalOf(purpose, await selectThreepidOwner(db, { medium: "msisdn", address }) !== null);
    if (refusal !== null) return await this.#refuse(refusal);
    const answer = await this.#post("/validate/msisdn/requestToken", {
      ...{ country, phone_number: phoneNumber, client_secret: clientSecret, send_attempt: sendAttempt },
      ...(nextLink === null ? {} : { next_link: nextLink }),
    });
    const { sid, msisdn, intl_fmt } = answer;
    if (typeof sid !== "string" || !OPAQUE.test(sid)) throw this.#broken("it opened no session");
    const expiresTs = this.#deps.clock.now() + SESSION_LIFETIME_MS;
    await db.transaction((tx) => upsertPhoneValidation(tx, { sessionId: sid, purpose, expiresTs }));
    return {
      ...{ sid, submit_url: `${this.#deps.options.publicBaseurl}${SUBMIT_PATH}` },
      ...(typeof msisdn === "string" ? { msisdn } : {}),
      ...(typeof intl_fmt === "string" ? { intl_fmt } : {}),
    };
  }

  /** Hands a code on; returns whether it was the right one. */
  async submit({ sid, clientSecret, token }: ThreepidCreds & { token: string }): Promise<boolean> {
    this.#requireDelegate();
    if (!OPAQUE.test(clientSecret) || !OPAQUE.test(sid)) throw invalidParam("Invalid session or client_secret");
    const body = { client_secret: clientSecret, sid, token };
    return (await this.#post("/validate/msisdn/submitToken", body)).success === true;
  }

  /** Returns the number that a session has proven for a purpose, or null. */
  async proven({ sid, clientSecret }: ThreepidCreds, purpose: ValidationPurpose): Promise<ProvenAddress | null> {
    const { db, clock, options: { delegate } } = this.#deps;
    if (delegate === null || !OPAQUE.test(sid) || !OPAQUE.test(clientSecret)) return null;
    if (!await hasPhoneValidation(db, { sessionId: sid, purpose, now: clock.now() })) return null;
    const query = new URLSearchParams({ sid, client_secret: clientSecret });
    const { status, body } = await this.#ask(`${API}/3pid/getValidated3pid?${query}`);
    // Old servers answer 200 for what is not proven.
    const { medium, address, validated_at: validatedTs } = status === 200 ? body : {};
    if (medium !== "msisdn" || typeof address !== "string" || !MSISDN.test(address)) return null;
    const at = typeof validatedTs === "number" && Number.isSafeInteger(validatedTs) ? validatedTs : clock.now();
    return { medium, sessionId: sid, address, validatedTs: at };
  }

  /** Ends a session whose proof was used, in the transaction that used it. */
  async consume(tx: Tx, sessionId: string): Promise<void> {
    await deletePhoneValidation(tx, sessionId);
  }

  /** Removes expired sessions. Called by a timer. */
  async expire(): Promise<void> {
    await this.#deps.db.transaction((tx) => deleteExpiredPhoneValidations(tx, this.#deps.clock.now()));
  }

  #requireDelegate(): void {
    if (this.isEnabled) return;
    throw new MatrixError(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "This server does not validate phone numbers");
  }

  /** Where whoever asks must not see whether a number is known, the answer and its time are like those of a message. */
  async #refuse(refusal: MatrixError): Promise<JsonObject> {
    const { options, clock } = this.#deps;
    if (!options.requestTokenInhibit3pidErrors) throw refusal;
    await clock.sleep(DISGUISE_MS.min + parseInt(randomString(3, "0123456789"), 10) % DISGUISE_MS.spread);
    return { sid: randomString(SESSION_ID_LENGTH), submit_url: `${options.publicBaseurl}${SUBMIT_PATH}` };
  }

  async #post(path: string, body: JsonObject): Promise<JsonObject> {
    const answer = await this.#ask(`${API}${path}`, body);
    if (answer.status === 200) return answer.body;
    const { errcode, error, retry_after_ms: wait } = answer.body;
    if (answer.status === 429) throw limitExceeded(typeof wait === "number" && wait > 0 ? wait : RETRY_MS);
    if (answer.status < 400 || answer.status > 499) throw this.#broken(`it answered ${answer.status}`);
    const said = typeof error === "string" ? error.slice(0, 200) : "it gave no reason";
    const code = typeof errcode === "string" && PASSED_ON.has(errcode) ? errcode as Errcode : "M_UNKNOWN";
    throw new MatrixError(400, code, `The identity server refused: ${said}`);
  }

  async #ask(path: string, body?: JsonObject): Promise<{ status: number; body: JsonObject }> {
    const { send, options: { delegate } } = this.#deps;
    const url = `${(delegate ?? "").replace(/\/+$/, "")}${path}`;
    try {
      const { status, text } = await send(
        url,
        body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) },
      );
      const parsed: unknown = status === 200 ? JSON.parse(text) : parseOrNull(text);
      return { status, body: isJsonObject(parsed) ? parsed : {} };
    } catch (error) {
      throw this.#broken(describeError(error));
    }
  }

  #broken(reason: string): MatrixError {
    this.#deps.log.warn(`The identity server that validates phone numbers failed: ${reason}`);
    return new MatrixError(502, "M_UNKNOWN", "The identity server that validates phone numbers did not answer");
  }
}

function parseOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function refusalOf(purpose: ValidationPurpose, isKnown: boolean): MatrixError | null {
  if (purpose === "reset") {
    return isKnown ? null : new MatrixError(400, "M_THREEPID_NOT_FOUND", "No account has this phone number");
  }
  return isKnown ? new MatrixError(400, "M_THREEPID_IN_USE", "This phone number is already in use") : null;
}
