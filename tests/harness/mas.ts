/** A Matrix Authentication Service as far as a homeserver asks it, over real HTTP. */
import type { Json } from "./client.ts";

/** The secret that the two servers share. */
export const MAS_SECRET = "a secret of the two";

/** A running service. */
export class StubMas implements AsyncDisposable {
  readonly #server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => this.#answer(request));
  /** What is answered about tokens. */
  readonly tokens = new Map<string, Json>();
  /** How often it was asked about each token. */
  readonly asked = new Map<string, number>();
  /** Answers everything with an error while true. */
  isDown = false;
  #given = 0;

  /** Its address. */
  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.addr as Deno.NetAddr).port}`;
  }

  /** Gives out a token. */
  give(username: string, { device = "DEVICE", scope = "urn:matrix:client:api:*", ...more }: Json = {}): string {
    const token = `mat_${username}_${this.#given++}`;
    const scopes = device === null ? scope : `${scope} urn:matrix:client:device:${device}`;
    this.tokens.set(token, { active: true, username, scope: scopes, expires_in: 300, ...more });
    return token;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    if (this.isDown) return new Response(null, { status: 500 });
    const { pathname } = new URL(request.url);
    if (pathname === "/.well-known/openid-configuration") return Response.json(metadataOf(this.endpoint));
    if (pathname !== "/oauth2/introspect" || request.headers.get("authorization") !== `Bearer ${MAS_SECRET}`) {
      return new Response(null, { status: 401 });
    }
    const token = new URLSearchParams(await request.text()).get("token") ?? "";
    this.asked.set(token, (this.asked.get(token) ?? 0) + 1);
    return Response.json(this.tokens.get(token) ?? { active: false });
  }
}

function metadataOf(issuer: string): Json {
  return {
    issuer: `${issuer}/`,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/oauth2/token`,
    revocation_endpoint: `${issuer}/oauth2/revoke`,
    registration_endpoint: `${issuer}/oauth2/registration`,
    response_types_supported: ["code"],
    grant_types_supported: ["authorization_code", "refresh_token"],
    response_modes_supported: ["query", "fragment"],
    code_challenge_methods_supported: ["S256"],
    account_management_uri: `${issuer}/account/`,
  };
}
