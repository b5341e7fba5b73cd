/** An identity server that validates phone numbers over real HTTP, as Sydent does; it keeps the codes it would send. */

interface Session {
  readonly msisdn: string;
  readonly code: string;
  isValidated: boolean;
}

/** A running server. */
export class StubSmsServer implements AsyncDisposable {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #sessions = new Map<string, Session>();
  /** Bodies of the requests for messages, the last at the end. */
  readonly requests: Record<string, unknown>[] = [];
  /** Answers the next request for a message with this. */
  refusal: { readonly status: number; readonly text: string } | null = null;

  constructor() {
    this.#server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => this.#answer(request));
  }

  /** Options of a homeserver that uses it. */
  get config(): Record<string, unknown> {
    return { account_threepid_delegates: { msisdn: `http://127.0.0.1:${this.#server.addr.port}` } };
  }

  /** The code that was sent last. */
  get code(): string {
    return [...this.#sessions.values()].at(-1)?.code ?? "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    const refused = (errcode: string) => Response.json({ errcode, error: `stub: ${errcode}` }, { status: 400 });
    switch (pathname) {
      case "/_matrix/identity/api/v1/validate/msisdn/requestToken":
        return this.#open(await request.json());
      case "/_matrix/identity/api/v1/validate/msisdn/submitToken": {
        const { sid, client_secret: secret, token } = await request.json();
        const session = this.#sessions.get(`${sid} ${secret}`);
        if (session === undefined) return refused("M_NO_VALID_SESSION");
        const success = session.code === token;
        session.isValidated ||= success;
        return Response.json({ success });
      }
      case "/_matrix/identity/api/v1/3pid/getValidated3pid": {
        const session = this.#sessions.get(`${searchParams.get("sid")} ${searchParams.get("client_secret")}`);
        if (session?.isValidated !== true) return refused("M_SESSION_NOT_VALIDATED");
        return Response.json({ medium: "msisdn", address: session.msisdn, validated_at: 1_500_000_000_000 });
      }
      default:
        return new Response("not found", { status: 404 });
    }
  }

  #open(body: Record<string, unknown>): Response {
    this.requests.push(body);
    const { refusal } = this;
    this.refusal = null;
    if (refusal !== null) return new Response(refusal.text, { status: refusal.status });
    const msisdn = `49${String(body.phone_number).replace(/^0/, "").replace(/[^0-9]/g, "")}`;
    const sid = String(this.#sessions.size + 1);
    this.#sessions.set(`${sid} ${body.client_secret}`, { msisdn, code: `code${sid}`, isValidated: false });
    return Response.json({ success: true, sid, msisdn, intl_fmt: `+${msisdn}`, access_token: "not for clients" });
  }
}
