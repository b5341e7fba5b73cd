/**
 * The Matrix Authentication Service, which has the accounts and logins where the configuration says so: it is asked whom
 * access tokens stand for. Spec: client-server API, "OAuth 2.0 API"; RFC 7662 for the questions.
 */
import type { SendBounded } from "../lib/bounded_request.ts";
import type { Clock } from "../lib/clock.ts";
import { equalSecrets } from "../lib/digest.ts";
import { describeError } from "../lib/describe_error.ts";
import type { Logger } from "../lib/log.ts";
import { MatrixError, unknownToken } from "../protocol/errors.ts";
import { type DeviceId, makeUserId, parseDeviceId, type ServerName, type UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";

/** Whom an access token stands for. */
export interface Introspection {
  readonly userId: UserId;
  readonly deviceId: DeviceId | null;
  readonly isAdmin: boolean;
  /** When to ask again. */
  readonly goodUntilTs: number;
}

/** What the service is asked with. */
export interface MasDeps {
  readonly send: SendBounded;
  readonly clock: Clock;
  readonly log: Logger;
  readonly serverName: ServerName;
  /** Without a slash at its end. */
  readonly endpoint: string;
  readonly secret: string;
}

/** What the server's metadata is kept for. */
const METADATA_LIFETIME_MS = 10 * 60_000;
/** Synapse asks again as often. */
const TOKEN_LIFETIME_MS = 2 * 60_000;
const API_SCOPES: readonly string[] = ["urn:matrix:client:api:*", "urn:matrix:org.matrix.msc2967.client:api:*"];
const DEVICE_SCOPES: readonly string[] = ["urn:matrix:client:device:", "urn:matrix:org.matrix.msc2967.client:device:"];
const ADMIN_SCOPE = "urn:synapse:admin:*";

/** Asks the authentication service. */
export class Mas {
  readonly #deps: MasDeps;
  #metadata: { readonly value: Promise<JsonObject>; readonly ts: number } | null = null;

  constructor(deps: MasDeps) {
    this.#deps = deps;
  }

  /** Tells whether a token is the secret that the two servers share. */
  isSecret(token: string): boolean {
    return equalSecrets(token, this.#deps.secret);
  }

  /** Returns what the service says of itself, for clients. Throws 503 while it does not answer. */
  async metadata(): Promise<JsonObject> {
    const now = this.#deps.clock.now();
    if (this.#metadata === null || this.#metadata.ts + METADATA_LIFETIME_MS <= now) {
      const loading = { value: this.#load(), ts: now };
      this.#metadata = loading;
      loading.value.catch(() => {
        if (this.#metadata === loading) this.#metadata = null;
      });
    }
    return await this.#metadata.value.catch((error: unknown) => {
      throw this.#unavailable("Cannot read the metadata of the authentication service", error);
    });
  }

  /** Returns the page on which users manage their account. */
  async accountUrl(): Promise<string> {
    return String((await this.metadata()).account_management_uri);
  }

  /** Returns the page on which users allow that their cross-signing keys are replaced. */
  async resetUrl(): Promise<string> {
    const url = new URL(await this.accountUrl());
    url.searchParams.set("action", "org.matrix.cross_signing_reset");
    return url.href;
  }

  /** Returns whom an access token stands for; throws 401 for one that is not good, 503 when the service does not say. */
  async introspect(token: string): Promise<Introspection> {
    const answer = await this.#ask(token).catch((error: unknown) => {
      throw this.#unavailable("Unable to introspect the access token", error);
    });
    const scopes = typeof answer.scope === "string" ? answer.scope.split(" ") : [];
    if (answer.active !== true || !API_SCOPES.some((scope) => scopes.includes(scope))) {
      throw unknownToken({ softLogout: false });
    }
    const userId = typeof answer.username === "string" ? makeUserId(answer.username, this.#deps.serverName) : null;
    if (userId === null) throw this.#unusable("names no user");
    const expiresMs = typeof answer.expires_in === "number" ? answer.expires_in * 1000 : Infinity;
    if (expiresMs <= 0) throw unknownToken({ softLogout: false });
    return {
      userId,
      deviceId: this.#deviceOf(answer, scopes),
      isAdmin: scopes.includes(ADMIN_SCOPE),
      goodUntilTs: this.#deps.clock.now() + Math.min(expiresMs, TOKEN_LIFETIME_MS),
    };
  }

  #deviceOf({ device_id: named }: JsonObject, scopes: readonly string[]): DeviceId | null {
    const inScope = new Set(scopes.flatMap((scope) => {
      const prefix = DEVICE_SCOPES.find((prefix) => scope.startsWith(prefix));
      return prefix === undefined ? [] : [scope.slice(prefix.length)];
    }));
    if (typeof named !== "string" && inScope.size > 1) throw this.#unusable("names several devices");
    const text = typeof named === "string" ? named : [...inScope][0] ?? null;
    if (text === null) return null;
    const deviceId = parseDeviceId(text);
    if (deviceId === null) throw this.#unusable("names a device that cannot be");
    return deviceId;
  }

  async #ask(token: string): Promise<JsonObject> {
    const { send, endpoint, secret } = this.#deps;
    const { status, text } = await send(`${endpoint}/oauth2/introspect`, {
      method: "POST",
      headers: {
        "content-type": "application/x-www-form-urlencoded",
        authorization: `Bearer ${secret}`,
        "x-mas-supports-device-id": "1",
      },
      body: new URLSearchParams({ token, token_type_hint: "access_token" }).toString(),
    });
    if (status !== 200) throw new Error(`it answers ${status}`);
    const answer = JSON.parse(text);
    if (!isJsonObject(answer) || typeof answer.active !== "boolean") throw new Error("it answers no introspection");
    return answer;
  }

  async #load(): Promise<JsonObject> {
    const { send, endpoint } = this.#deps;
    const { status, text } = await send(`${endpoint}/.well-known/openid-configuration`);
    if (status !== 200) throw new Error(`it answers ${status}`);
    const metadata = JSON.parse(text);
    const isUsable = isJsonObject(metadata) && typeof metadata.issuer === "string" &&
      URL.canParse(String(metadata.account_management_uri));
    if (!isUsable) throw new Error('it lacks "issuer" or "account_management_uri"');
    return metadata;
  }

  #unavailable(message: string, error: unknown): MatrixError {
    this.#deps.log.error(`${message}: ${describeError(error)}`);
    return new MatrixError(503, "M_UNKNOWN", message);
  }

  #unusable(what: string): MatrixError {
    this.#deps.log.error(`The authentication service ${what} for a token that it calls good`);
    return new MatrixError(500, "M_UNKNOWN", `The authentication service ${what} for this access token`);
  }
}
