/**
 * Requests to identity servers, which know people by their addresses. Spec: Identity Service API.
 *
 * Users and rooms name the servers, so connections are judged as those to other homeservers are: by the address they are
 * made to, and by `federation_custom_ca_list`.
 */
import { createHash } from "node:crypto";
import { isIP } from "node:net";
import type { Dispatcher } from "../lib/undici.ts";
import { canonicalJson, parseJsonStrict } from "../protocol/canonical_json.ts";
import { parseServerName, parseUserId, type UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import type { Signer } from "../protocol/signatures.ts";
import { type Connections, readBody } from "./connections.ts";
import { routeTo } from "./discovery.ts";
import { authorize } from "./x_matrix.ts";

/** A request to an identity server that did not succeed. */
export class IdentityServerError extends Error {
  override readonly name = "IdentityServerError";
  /** Null where there was no answer. */
  readonly status: number | null;
  readonly body: JsonObject | null;

  constructor(message: string, { status = null, body = null, cause }: Partial<IdentityFailure> = {}) {
    super(message, cause === undefined ? {} : { cause });
    this.status = status;
    this.body = body;
  }
}

interface IdentityFailure {
  readonly status: number | null;
  readonly body: JsonObject | null;
  readonly cause: unknown;
}

/** Who asks whom. */
export interface IdentityAccess {
  /** Host and port. */
  readonly server: string;
  /** The user's access token there. Secret. */
  readonly token: string;
}

/** An invitation that an identity server keeps until somebody has the address. */
export interface StoredInvite {
  readonly token: string;
  readonly displayName: string;
  readonly keys: readonly { readonly publicKey: string; readonly keyValidityUrl: string }[];
}

interface Call {
  readonly method: "GET" | "POST";
  readonly token: string | null;
  readonly body?: JsonObject;
  /** In place of a token. */
  readonly authorization?: string;
}

const TIMEOUT_MS = 20_000;
const MAX_ANSWER_BYTES = 262_144;
const MAX_KEYS = 10;
const PREFIX = "/_matrix/identity/v2";
/** Spec: `POST /store-invite`. */
const TOKEN = /^[0-9a-zA-Z.=_-]{1,255}$/;

/** Asks identity servers. All throw `IdentityServerError`. */
export class IdentityServers {
  readonly #connections: Pick<Connections, "send">;
  readonly #userAgent: string;

  constructor({ connections, userAgent }: { connections: Pick<Connections, "send">; userAgent: string }) {
    this.#connections = connections;
    this.#userAgent = userAgent;
  }

  /** Returns the user with an address, or null when the server knows none. */
  async lookUp(
    { server, token }: IdentityAccess,
    { medium, address }: { medium: string; address: string },
  ): Promise<UserId | null> {
    const base = baseOf(server);
    const details = await this.#ask(new URL(`${base}/hash_details`), { method: "GET", token });
    const { lookup_pepper: pepper, algorithms } = details;
    if (typeof pepper !== "string" || !Array.isArray(algorithms)) throw badAnswer("It does not say how it looks up");
    const algorithm = ["sha256", "none"].find((known) => algorithms.includes(known));
    if (algorithm === undefined) throw badAnswer("It looks up by no algorithm that is known here");
    const key = algorithm === "none" ? `${address} ${medium}` : hashOf(`${address} ${medium} ${pepper}`);
    const body = { algorithm, pepper, addresses: [key] };
    const { mappings } = await this.#ask(new URL(`${base}/lookup`), { method: "POST", token, body });
    const found = isJsonObject(mappings) && Object.hasOwn(mappings, key) ? mappings[key] : undefined;
    return typeof found === "string" ? parseUserId(found) : null;
  }

  /** Lets the server keep an invitation and tell the invited person. */
  async storeInvite({ server, token }: IdentityAccess, invite: JsonObject): Promise<StoredInvite> {
    const url = new URL(`${baseOf(server)}/store-invite`);
    const answer = await this.#ask(url, { method: "POST", token, body: invite });
    const { token: secret, display_name: displayName, public_keys: list } = answer;
    const listed = Array.isArray(list) ? list.slice(0, MAX_KEYS).filter(isJsonObject) : [];
    const keys = listed.flatMap(({ public_key: publicKey, key_validity_url: url }) =>
      typeof publicKey === "string" && typeof url === "string" ? [{ publicKey, keyValidityUrl: url }] : []
    );
    if (typeof secret !== "string" || !TOKEN.test(secret) || typeof displayName !== "string" || keys.length === 0) {
      throw badAnswer("It did not say how the invitation is accepted");
    }
    return { token: secret, displayName, keys };
  }

  /** Tells whether a key is good still, by the URL that came with it. */
  async isKeyValid(validityUrl: string, publicKey: string): Promise<boolean> {
    const url = URL.parse(validityUrl);
    if (url === null || url.protocol !== "https:") throw badAnswer("The URL that tells about the key cannot be asked");
    url.searchParams.set("public_key", publicKey);
    return (await this.#ask(url, { method: "GET", token: null })).valid === true;
  }

  /** Has a server publish the address that its session has proven as the user's; returns the address. */
  async bind(
    { server, token }: IdentityAccess,
    { sid, clientSecret, userId }: { sid: string; clientSecret: string; userId: UserId },
  ): Promise<{ medium: string; address: string }> {
    const body = { sid, client_secret: clientSecret, mxid: userId };
    const { medium, address } = await this.#ask(new URL(`${baseOf(server)}/3pid/bind`), {
      method: "POST",
      token,
      body,
    });
    if (typeof medium !== "string" || typeof address !== "string") throw badAnswer("It did not say what it published");
    return { medium, address };
  }

  /** Has a server publish an address no more. The homeserver proves itself by its signature. */
  async unbind(
    { server, signer }: { server: string; signer: Signer },
    { medium, address, userId }: { medium: string; address: string; userId: UserId },
  ): Promise<void> {
    const body = { mxid: userId, threepid: { medium, address } };
    const url = new URL(`${baseOf(server)}/3pid/unbind`);
    const signed = { method: "POST", uri: url.pathname, destination: server, bodyText: canonicalJson(body) };
    await this.#ask(url, { method: "POST", token: null, body, authorization: authorize(signed, signer) });
  }

  async #ask(url: URL, { method, token, body, authorization }: Call): Promise<JsonObject> {
    let answer: Dispatcher.ResponseData;
    let bytes: Uint8Array;
    try {
      answer = await this.#connections.send(routeOf(url), {
        ...{ method, path: `${url.pathname}${url.search}`, signal: AbortSignal.timeout(TIMEOUT_MS) },
        headers: {
          "user-agent": this.#userAgent,
          ...(token === null ? {} : { authorization: `Bearer ${token}` }),
          ...(authorization === undefined ? {} : { authorization }),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      bytes = await readBody(answer.body, MAX_ANSWER_BYTES);
    } catch (cause) {
      throw new IdentityServerError("It cannot be reached", { cause });
    }
    const parsed = parseObject(bytes);
    const { statusCode: status } = answer;
    if (status < 200 || status > 299) {
      throw new IdentityServerError(`It answered with ${status}`, { status, body: parsed });
    }
    if (parsed === null) throw badAnswer("It did not answer with a JSON object");
    return parsed;
  }
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}

function baseOf(server: string): string {
  // The grammar is that of server names.
  if (parseServerName(server) === null) throw new IdentityServerError("It has no valid name");
  return `https://${server}${PREFIX}`;
}

function routeOf(url: URL): ReturnType<typeof routeTo> {
  const host = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
  const port = url.port === "" ? 443 : Number(url.port);
  return routeTo({ host, port, hostHeader: url.host, certName: isIP(host) === 0 ? host.toLowerCase() : host });
}

function parseObject(bytes: Uint8Array): JsonObject | null {
  try {
    const value = parseJsonStrict(bytes);
    return isJsonObject(value) ? value : null;
  } catch {
    return null;
  }
}

function badAnswer(message: string): IdentityServerError {
  return new IdentityServerError(message, { status: 200 });
}
