/**
 * Captchas: reCAPTCHA, and those that are checked in the same way, hCaptcha and Turnstile. Which one it is follows from
 * the URL that checks them, `recaptcha_siteverify_api`.
 */
import { postForm } from "../lib/form_request.ts";
import type { Logger } from "../lib/log.ts";
import { MatrixError } from "../protocol/errors.ts";

/** What the service is built from. */
export interface CaptchaDeps {
  readonly publicKey: string;
  readonly privateKey: string;
  readonly verifyUrl: string;
  readonly log: Logger;
}

/** How a page shows the puzzle. */
export interface CaptchaWidget {
  readonly script: string;
  readonly className: string;
  /** The field of the form that has the answer. */
  readonly field: string;
  /** Where a page must let scripts and frames come from. */
  readonly sources: readonly string[];
}

const TIMEOUT_MS = 10_000;
const MAX_RESPONSE_LENGTH = 16_384;

const RECAPTCHA: CaptchaWidget = {
  script: "https://www.recaptcha.net/recaptcha/api.js",
  className: "g-recaptcha",
  field: "g-recaptcha-response",
  sources: [
    "https://www.recaptcha.net/recaptcha/",
    "https://www.gstatic.com/recaptcha/",
    "https://www.google.com/recaptcha/",
  ],
};
const HCAPTCHA: CaptchaWidget = {
  script: "https://js.hcaptcha.com/1/api.js",
  className: "h-captcha",
  field: "h-captcha-response",
  sources: ["https://hcaptcha.com", "https://*.hcaptcha.com"],
};
const TURNSTILE: CaptchaWidget = {
  script: "https://challenges.cloudflare.com/turnstile/v0/api.js",
  className: "cf-turnstile",
  field: "cf-turnstile-response",
  sources: ["https://challenges.cloudflare.com"],
};

/** Checks captchas. */
export class Captcha {
  readonly #deps: CaptchaDeps;

  constructor(deps: CaptchaDeps) {
    this.#deps = deps;
  }

  /** The site's key, which is no secret. */
  get publicKey(): string {
    return this.#deps.publicKey;
  }

  /** What a page needs to show the puzzle. */
  get widget(): CaptchaWidget {
    const { hostname } = new URL(this.#deps.verifyUrl);
    if (/(^|\.)hcaptcha\.com$/.test(hostname)) return HCAPTCHA;
    return hostname === "challenges.cloudflare.com" ? TURNSTILE : RECAPTCHA;
  }

  /** Tells whether the puzzle was solved. Throws 503 when nobody can tell. */
  async check({ response, clientIp }: { response: string; clientIp: string }): Promise<boolean> {
    if (response.length > MAX_RESPONSE_LENGTH) return false;
    const { verifyUrl, privateKey, log } = this.#deps;
    const fields = { secret: privateKey, response, remoteip: clientIp };
    let answer: unknown;
    try {
      answer = await postForm(verifyUrl, { fields, timeoutMs: TIMEOUT_MS });
    } catch (error) {
      log.error("Captchas cannot be checked", { url: verifyUrl, error: String(error) });
      answer = null;
    }
    if (typeof answer !== "object" || answer === null || !("success" in answer)) {
      throw new MatrixError(503, "M_UNKNOWN", "Captchas cannot be checked at the moment. Try again later");
    }
    if (answer.success !== true && "error-codes" in answer) {
      log.info("A captcha was not accepted", { reason: JSON.stringify(answer["error-codes"]).slice(0, 200) });
    }
    return answer.success === true;
  }
}
