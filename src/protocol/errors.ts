/**
 * The errors a client or a server sees. Spec: client-server API, "Standard error response".
 *
 * Services throw these; `http/middleware/errors.ts` is the only place that renders them.
 */
import type { JsonObject } from "./json.ts";

/** Every error code of the spec that this server gives. Sorted. */
export type Errcode =
  | "FI.MAU.MSC2815_UNREDACTED_CONTENT_DELETED"
  | "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION"
  | "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD"
  | "IO_ELEMENT_MSC4388_CONCURRENT_WRITE"
  | "M_APPSERVICE_LOGIN_UNSUPPORTED"
  | "M_BAD_ALIAS"
  | "M_BAD_JSON"
  | "M_BAD_STATE"
  | "M_BAD_STATUS"
  | "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"
  | "M_CANNOT_OVERWRITE_MEDIA"
  | "M_CAPTCHA_INVALID"
  | "M_CAPTCHA_NEEDED"
  | "M_CONFLICT"
  | "M_CONNECTION_FAILED"
  | "M_CONNECTION_TIMEOUT"
  | "M_CONSENT_NOT_GIVEN"
  | "M_DUPLICATE_ANNOTATION"
  | "M_EXCLUSIVE"
  | "M_EXPIRED_ACCOUNT"
  | "M_FORBIDDEN"
  | "M_GUEST_ACCESS_FORBIDDEN"
  | "M_INCOMPATIBLE_ROOM_VERSION"
  | "M_INVALID_PARAM"
  | "M_INVALID_ROOM_STATE"
  | "M_INVALID_SIGNATURE"
  | "M_INVALID_USERNAME"
  | "M_INVITE_BLOCKED"
  | "M_KEY_TOO_LARGE"
  | "M_LIMIT_EXCEEDED"
  | "M_MISSING_PARAM"
  | "M_MISSING_TOKEN"
  | "M_NOT_FOUND"
  | "M_NOT_JOINED"
  | "M_NOT_JSON"
  | "M_NOT_YET_UPLOADED"
  | "M_PROFILE_TOO_LARGE"
  | "M_RESOURCE_LIMIT_EXCEEDED"
  | "M_ROOM_IN_USE"
  | "M_SERVER_NOT_TRUSTED"
  | "M_THREEPID_AUTH_FAILED"
  | "M_THREEPID_DENIED"
  | "M_THREEPID_IN_USE"
  | "M_THREEPID_MEDIUM_NOT_SUPPORTED"
  | "M_THREEPID_NOT_FOUND"
  | "M_TOO_LARGE"
  | "M_UNABLE_TO_AUTHORISE_JOIN"
  | "M_UNABLE_TO_GRANT_JOIN"
  | "M_UNAUTHORIZED"
  | "M_UNKNOWN"
  | "M_UNKNOWN_DEVICE"
  | "M_UNKNOWN_POS"
  | "M_UNKNOWN_TOKEN"
  | "M_UNRECOGNIZED"
  | "M_UNSUPPORTED_ROOM_VERSION"
  | "M_URL_NOT_SET"
  | "M_USER_DEACTIVATED"
  | "M_USER_IN_USE"
  | "M_USER_LIMIT_EXCEEDED"
  | "M_USER_LOCKED"
  | "M_USER_SUSPENDED"
  | "M_WEAK_PASSWORD"
  | "M_WRONG_ROOM_KEYS_VERSION"
  | "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL"
  | "ORG_MATRIX_EXPIRED_ACCOUNT"
  | "ORG_MATRIX_MSC4140_DELAYED_EVENT_MANAGEMENT_FAILED";

/** An answer other than success: an HTTP status, an errcode, a sentence for people, and further fields. */
export class MatrixError extends Error {
  override readonly name = "MatrixError";
  readonly status: number;
  readonly errcode: Errcode;
  readonly extra: JsonObject;

  constructor(status: number, errcode: Errcode, message: string, extra: JsonObject = {}) {
    super(message);
    this.status = status;
    this.errcode = errcode;
    this.extra = extra;
  }

  /** Returns the response body. */
  toJSON(): JsonObject {
    return { ...this.extra, errcode: this.errcode, error: this.message };
  }
}

/** 403 `M_FORBIDDEN`. */
export function forbidden(message: string): MatrixError {
  return new MatrixError(403, "M_FORBIDDEN", message);
}

/** 404 `M_NOT_FOUND`. */
export function notFound(message = "Not found"): MatrixError {
  return new MatrixError(404, "M_NOT_FOUND", message);
}

/** 400 `M_BAD_JSON`: JSON of the wrong shape. */
export function badJson(message: string): MatrixError {
  return new MatrixError(400, "M_BAD_JSON", message);
}

/** 400 `M_NOT_JSON`: not JSON at all. */
export function notJson(message = "Content is not JSON"): MatrixError {
  return new MatrixError(400, "M_NOT_JSON", message);
}

/** 400 `M_INVALID_PARAM`. */
export function invalidParam(message: string): MatrixError {
  return new MatrixError(400, "M_INVALID_PARAM", message);
}

/** 400 `M_MISSING_PARAM`, naming the parameter. */
export function missingParam(name: string): MatrixError {
  return new MatrixError(400, "M_MISSING_PARAM", `Missing parameter "${name}"`);
}

/** 413 `M_TOO_LARGE`. */
export function tooLarge(message: string): MatrixError {
  return new MatrixError(413, "M_TOO_LARGE", message);
}

/** 401 `M_MISSING_TOKEN`. */
export function missingToken(): MatrixError {
  return new MatrixError(401, "M_MISSING_TOKEN", "Missing access token");
}

/** 401 `M_UNKNOWN_TOKEN`; with `softLogout` the client may keep its encryption keys and log in again. */
export function unknownToken({ softLogout }: { softLogout: boolean }): MatrixError {
  return new MatrixError(401, "M_UNKNOWN_TOKEN", "Unrecognized access token", { soft_logout: softLogout });
}

/** 404 `M_UNRECOGNIZED`: no such endpoint. */
export function unrecognized(): MatrixError {
  return new MatrixError(404, "M_UNRECOGNIZED", "Unrecognized request");
}

/** 429 `M_LIMIT_EXCEEDED`; the renderer also sends `Retry-After`. */
export function limitExceeded(retryAfterMs: number): MatrixError {
  return new MatrixError(429, "M_LIMIT_EXCEEDED", "Too many requests", { retry_after_ms: Math.ceil(retryAfterMs) });
}
