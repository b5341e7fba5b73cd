/**
 * Who a client says it is, and whether the password is right. Spec: client-server API, "Identifier types".
 *
 * An unknown user, one without a password and a wrong password answer alike and take alike long.
 */
import { parsePhoneNumber } from "../lib/phone_numbers.ts";
import { badJson, forbidden, invalidParam, MatrixError, missingParam } from "../protocol/errors.ts";
import { localpartOf, makeUserId, parseUserId, type ServerName, serverNameOf, type UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import type { Db } from "../storage/database.ts";
import { selectThreepidOwner, selectUser, type User } from "../storage/users.ts";
import type { Passwords } from "./passwords.ts";
import type { RateLimits } from "./rate_limits.ts";

/** Rules for new passwords, by Synapse's option `password_config.policy`. */
export interface PasswordPolicy {
  readonly enabled: boolean;
  readonly minimumLength: number;
  readonly requireDigit: boolean;
  readonly requireSymbol: boolean;
  readonly requireLowercase: boolean;
  readonly requireUppercase: boolean;
}

/** What the service is built from. */
export interface CredentialsDeps {
  readonly db: Db;
  readonly serverName: ServerName;
  readonly passwords: Passwords;
  readonly limits: RateLimits;
  readonly policy: PasswordPolicy;
}

/** Hashing is slow on purpose; longer passwords only make it slower. */
const MAX_PASSWORD_LENGTH = 512;

/** Checks identifiers and passwords. */
export class Credentials {
  readonly #deps: CredentialsDeps;

  constructor(deps: CredentialsDeps) {
    this.#deps = deps;
  }

  /** Returns the account that `identifier` (or the deprecated fields beside it) means; null when there is none. */
  async identify(request: JsonObject): Promise<UserId | null> {
    const identifier = identifierOf(request);
    switch (identifier.type) {
      case "m.id.user":
        return await this.#findLocal(textOf(identifier, "user"));
      case "m.id.thirdparty":
        return await selectThreepidOwner(this.#deps.db, {
          medium: textOf(identifier, "medium"),
          address: textOf(identifier, "address").toLowerCase(),
        });
      case "m.id.phone":
        return await this.#findByPhone(identifier);
      default:
        throw invalidParam(`Unknown login identifier type "${textOf(identifier, "type").slice(0, 64)}"`);
    }
  }

  /**
   * Returns the account when the password is its own, else null. Wrong ones count against
   * `rc_login.failed_attempts`, which throws `M_LIMIT_EXCEEDED` before anything is hashed.
   */
  async verify(userId: UserId | null, { password, key }: { password: string; key: string }): Promise<User | null> {
    const limitKey = (userId ?? key).toLowerCase();
    this.#deps.limits.assertNotExceeded("rc_login.failed_attempts", limitKey);
    const user = userId === null ? null : await selectUser(this.#deps.db, userId);
    if (await this.#matches(password, user)) return user;
    this.#deps.limits.take("rc_login.failed_attempts", limitKey);
    return null;
  }

  /** Returns the hash of a new password; throws when it is too long or does not follow the policy. */
  async hashNew(password: string): Promise<string> {
    if (password.length > MAX_PASSWORD_LENGTH) throw invalidParam("Password is too long");
    const weakness = weaknessOf(password, this.#deps.policy);
    if (weakness !== null) throw new MatrixError(400, "M_WEAK_PASSWORD", weakness);
    return await this.#deps.passwords.hashPassword(password);
  }

  async #matches(password: string, user: User | null): Promise<boolean> {
    if (password.length > MAX_PASSWORD_LENGTH) return false;
    return await this.#deps.passwords.verifyPassword(password, user?.passwordHash ?? null);
  }

  async #findByPhone(identifier: JsonObject): Promise<UserId | null> {
    // The second name is from before the specification.
    const text = textOf(identifier, typeof identifier.phone === "string" ? "phone" : "number");
    const country = typeof identifier.country === "string" ? identifier.country : "";
    const address = await parsePhoneNumber(text, country) ?? text.replace(/[^0-9]/g, "");
    return await selectThreepidOwner(this.#deps.db, { medium: "msisdn", address });
  }

  async #findLocal(name: string): Promise<UserId | null> {
    const given = name.startsWith("@") ? parseUserId(name) : makeUserId(name, this.#deps.serverName);
    if (given === null || serverNameOf(given) !== this.#deps.serverName) return null;
    const exact = await selectUser(this.#deps.db, given);
    if (exact !== null) return exact.userId;
    // Accounts of old may have capitals; new ones have none, whatever the client typed.
    return makeUserId(localpartOf(given).toLowerCase(), this.#deps.serverName);
  }
}

function identifierOf(request: JsonObject): JsonObject {
  const { identifier, user, medium, address } = request;
  if (isJsonObject(identifier)) return identifier;
  if (identifier !== undefined) throw badJson('Invalid value for "identifier"');
  if (typeof user === "string") return { type: "m.id.user", user };
  if (medium !== undefined && address !== undefined) return { type: "m.id.thirdparty", medium, address };
  throw missingParam("identifier");
}

function textOf(object: JsonObject, key: string): string {
  const value: JsonValue | undefined = object[key];
  if (value === undefined) throw missingParam(key);
  if (typeof value !== "string") throw badJson(`Invalid value for "${key}"`);
  return value;
}

function weaknessOf(password: string, policy: PasswordPolicy): string | null {
  if (!policy.enabled) return null;
  if (password.length < policy.minimumLength) return `Password must have at least ${policy.minimumLength} characters`;
  if (policy.requireDigit && !/[0-9]/.test(password)) return "Password must have a digit";
  if (policy.requireSymbol && !/[^\p{L}\p{N}]/u.test(password)) return "Password must have a symbol";
  if (policy.requireLowercase && !/\p{Ll}/u.test(password)) return "Password must have a lower-case letter";
  if (policy.requireUppercase && !/\p{Lu}/u.test(password)) return "Password must have an upper-case letter";
  return null;
}

/** The one answer to wrong credentials. */
export function wrongCredentials(): MatrixError {
  return forbidden("Invalid username or password");
}
