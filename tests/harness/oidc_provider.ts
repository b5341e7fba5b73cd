/** An identity provider that speaks OpenID Connect over real HTTP and signs real tokens, and says whatever a test wants. */
import { createHash, generateKeyPairSync, type KeyObject, randomUUID } from "node:crypto";
import { exportJWK, SignJWT } from "jose";
import type { Json } from "./client.ts";

/** A request for a token, as the provider saw it. */
export interface TokenRequest {
  readonly form: URLSearchParams;
  readonly authorization: string | null;
}

/** What happens when somebody logs in; each field changes one thing. */
export interface LoginChanges {
  /** Claims of the token and of the user's data. */
  readonly claims?: Json;
  /** Leaves the identity token out. */
  readonly withoutIdToken?: boolean;
  /** Answers the exchange of the code with this. */
  readonly tokenError?: { readonly status: number; readonly body: Json };
  readonly algorithm?: string;
  readonly key?: KeyObject;
}

interface Login extends LoginChanges {
  readonly nonce: string;
  readonly challenge: string | null;
}

/** The provider's id of the server as its client. */
export const CLIENT_ID = "synapse-ts";

/** What a logout token is about. */
export const LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout";

/** A running provider. */
export class StubOidcProvider implements AsyncDisposable {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #logins = new Map<string, Login>();
  readonly #userinfo = new Map<string, Json>();
  #keys = newKeys();
  /** Added to what discovery tells. */
  metadata: Json = {};
  readonly tokenRequests: TokenRequest[] = [];
  /** How often each path was asked for. */
  readonly hits = new Map<string, number>();

  constructor() {
    this.#server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => this.#answer(request));
  }

  /** Its address, which is its name. */
  get issuer(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  /** The key it signs with at present. */
  get key(): KeyObject {
    return this.#keys.privateKey;
  }

  /** Signs with another key from now on. */
  changeKeys(): void {
    this.#keys = newKeys();
  }

  /** Logs somebody in who was sent to `location`; returns where they go back to. */
  logIn(location: string, changes: LoginChanges = {}): string {
    const asked = new URL(location).searchParams;
    const code = randomUUID();
    this.#logins.set(code, {
      ...changes,
      nonce: asked.get("nonce") ?? "",
      challenge: asked.get("code_challenge"),
    });
    const back = new URL(asked.get("redirect_uri") ?? "");
    back.searchParams.set("code", code);
    back.searchParams.set("state", asked.get("state") ?? "");
    return back.href;
  }

  /** Signs claims as the provider would. */
  async sign(claims: Json, { algorithm = "RS256", key = this.#keys.privateKey }: LoginChanges = {}): Promise<string> {
    return await new SignJWT(claims).setProtectedHeader({ alg: algorithm, kid: this.#keys.kid }).sign(key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    this.hits.set(pathname, (this.hits.get(pathname) ?? 0) + 1);
    switch (pathname) {
      case "/.well-known/openid-configuration":
        return Response.json({
          issuer: this.issuer,
          authorization_endpoint: `${this.issuer}/authorize`,
          token_endpoint: `${this.issuer}/token`,
          userinfo_endpoint: `${this.issuer}/userinfo`,
          jwks_uri: `${this.issuer}/jwks`,
          response_types_supported: ["code"],
          code_challenge_methods_supported: ["S256"],
          ...this.metadata,
        });
      case "/jwks":
        return Response.json({ keys: [{ ...await exportJWK(this.#keys.publicKey), kid: this.#keys.kid, use: "sig" }] });
      case "/token":
        return await this.#exchange(request);
      case "/userinfo": {
        const token = request.headers.get("authorization")?.replace("Bearer ", "") ?? "";
        const claims = this.#userinfo.get(token);
        return claims === undefined ? new Response(null, { status: 401 }) : Response.json(claims);
      }
      case "/picture.png":
        return new Response(PNG, { headers: { "content-type": "image/png" } });
      default:
        return new Response(null, { status: 404 });
    }
  }

  async #exchange(request: Request): Promise<Response> {
    const form = new URLSearchParams(await request.text());
    this.tokenRequests.push({ form, authorization: request.headers.get("authorization") });
    const login = this.#logins.get(form.get("code") ?? "");
    this.#logins.delete(form.get("code") ?? "");
    if (login === undefined) return Response.json({ error: "invalid_grant" }, { status: 400 });
    if (login.tokenError !== undefined) {
      return Response.json(login.tokenError.body, { status: login.tokenError.status });
    }
    const verifier = form.get("code_verifier");
    const proof = verifier === null ? null : createHash("sha256").update(verifier).digest("base64url");
    if (proof !== login.challenge) return Response.json({ error: "invalid_grant" }, { status: 400 });
    const accessToken = randomUUID();
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: this.issuer,
      aud: CLIENT_ID,
      sub: "person-1",
      iat: now,
      exp: now + 600,
      nonce: login.nonce,
      ...login.claims,
    };
    this.#userinfo.set(accessToken, claims);
    const idToken = login.withoutIdToken === true ? {} : { id_token: await this.sign(claims, login) };
    return Response.json({ access_token: accessToken, token_type: "Bearer", ...idToken });
  }
}

const PNG = Uint8Array.from(
  atob("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="),
  (character) => character.charCodeAt(0),
);

interface Keys {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly kid: string;
}

function newKeys(): Keys {
  return { ...generateKeyPairSync("rsa", { modulusLength: 2048 }), kid: randomUUID() };
}
