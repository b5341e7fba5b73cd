/** A Matrix client for tests: real HTTP, no logic of its own beyond waiting for something to arrive. */
import assert from "node:assert/strict";

/** Any JSON, as tests look into it. */
// deno-lint-ignore no-explicit-any -- tests state what they expect of answers; a wrong guess fails the test
export type Json = any;

/** One answer. */
export interface Answer {
  readonly status: number;
  /** Parsed where it is JSON, else text. */
  readonly body: Json;
  readonly headers: Headers;
}

/** One request and its answer, as checks see them. */
export interface Exchange {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly requestBody: Json;
  readonly answer: Answer;
}

/** Looks at every exchange of every client; throws to fail the test. */
export type ExchangeCheck = (exchange: Exchange) => void;

/** Checks that every exchange passes through. */
export const exchangeChecks = new Set<ExchangeCheck>();

/** What a request may carry besides its path. */
export interface RequestOptions {
  /** Sent as JSON; strings and bytes are sent as they are. */
  readonly body?: Json;
  readonly headers?: Readonly<Record<string, string>>;
  /** Null sends no token. */
  readonly token?: string | null;
  readonly query?: Readonly<Record<string, string | number | boolean>>;
}

/** How long tests wait for something to happen. Long, because machines are slow; nothing waits that long when it works. */
const WAIT_MS = 20_000;

/** Builds a path, percent-encoding what is put into it. */
export function path(strings: TemplateStringsArray, ...values: readonly (string | number)[]): string {
  return strings.reduce((text, part, index) => text + encodeURIComponent(String(values[index - 1])) + part);
}

/** Calls one server, with or without an account. */
export class Caller {
  readonly #base: string;
  readonly #http: Deno.HttpClient;
  readonly accessToken: string | null;

  constructor(base: string, { http, accessToken }: { http: Deno.HttpClient; accessToken: string | null }) {
    this.#base = base;
    this.#http = http;
    this.accessToken = accessToken;
  }

  /** The server's address, without a slash at the end. */
  get base(): string {
    return this.#base;
  }

  protected get http(): Deno.HttpClient {
    return this.#http;
  }

  /** Sends a request; a path that does not start with `/_` or `/.` is below `/_matrix/client/v3`. */
  async request(method: string, target: string, options: RequestOptions = {}): Promise<Answer> {
    const { body, headers = {}, token = this.accessToken, query = {} } = options;
    const search = new URLSearchParams(Object.entries(query).map(([key, value]) => [key, String(value)])).toString();
    const prefix = /^\/([_.]|health|$)/.test(target) ? "" : "/_matrix/client/v3";
    const full = prefix + target + (search === "" ? "" : `${target.includes("?") ? "&" : "?"}${search}`);
    const isRaw = typeof body === "string" || body instanceof Uint8Array;
    const response = await fetch(this.#base + full, {
      method,
      redirect: "manual",
      client: this.#http,
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: (isRaw ? body : JSON.stringify(body)) as BodyInit }),
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
    const answer = { status: response.status, body: isJson ? JSON.parse(text) : text, headers: response.headers };
    for (const check of exchangeChecks) check({ method, path: full, requestBody: body, answer });
    return answer;
  }

  /** Sends a request that must succeed, and returns its body. */
  async ok(method: string, target: string, options: RequestOptions = {}): Promise<Json> {
    const { status, body } = await this.request(method, target, options);
    assert.equal(status, 200, `${method} ${target}: ${status} ${JSON.stringify(body)}`);
    return body;
  }

  /** Sends a request that must fail with this status and errcode, and returns its body. */
  async fails(method: string, target: string, expected: RequestOptions & Failure): Promise<Json> {
    const { status, errcode, ...options } = expected;
    const answer = await this.request(method, target, options);
    assert.deepEqual(
      { status: answer.status, errcode: answer.body?.errcode },
      { status, errcode },
      `${method} ${target}: ${answer.status} ${JSON.stringify(answer.body)}`,
    );
    return answer.body;
  }

  /** GET that must succeed. */
  get(target: string, query: RequestOptions["query"] = {}): Promise<Json> {
    return this.ok("GET", target, { query });
  }

  /** POST that must succeed. */
  post(target: string, body: Json = {}): Promise<Json> {
    return this.ok("POST", target, { body });
  }

  /** PUT that must succeed. */
  put(target: string, body: Json = {}): Promise<Json> {
    return this.ok("PUT", target, { body });
  }

  /** DELETE that must succeed. */
  delete(target: string, body?: Json): Promise<Json> {
    return this.ok("DELETE", target, { body });
  }
}

/** How a request is refused. */
export interface Failure {
  readonly status: number;
  readonly errcode: string | undefined;
}

/** Who a test client is. */
export interface Account {
  readonly userId: string;
  readonly deviceId: string;
  readonly accessToken: string;
  readonly password: string;
}

let transactions = 0;

/** A logged-in user of a test server. */
export class TestClient extends Caller {
  readonly userId: string;
  readonly deviceId: string;
  readonly password: string;
  /** Where the last `sync` or `syncUntil` stopped. */
  since: string | null = null;

  constructor(base: string, { http, account }: { http: Deno.HttpClient; account: Account }) {
    super(base, { http, accessToken: account.accessToken });
    this.userId = account.userId;
    this.deviceId = account.deviceId;
    this.password = account.password;
  }

  /** The `auth` of a request that needs the user's password. */
  auth(session?: string): Json {
    const identifier = { type: "m.id.user", user: this.userId };
    return { type: "m.login.password", identifier, password: this.password, ...(session ? { session } : {}) };
  }

  /** Logs the same user in on another device. */
  async anotherDevice(deviceId?: string): Promise<TestClient> {
    const body = { ...this.auth(), ...(deviceId ? { device_id: deviceId } : {}) };
    const session = await this.ok("POST", "/login", { body, token: null });
    const account = { ...session, userId: this.userId, deviceId: session.device_id, accessToken: session.access_token };
    return new TestClient(this.base, { http: this.http, account: { ...account, password: this.password } });
  }

  /** Creates a room and returns its id. */
  async createRoom(options: Json = {}): Promise<string> {
    return (await this.post("/createRoom", options)).room_id;
  }

  /** Joins a room by id or alias and returns its id. */
  async join(room: string): Promise<string> {
    return (await this.post(path`/join/${room}`)).room_id;
  }

  /** Leaves a room. */
  async leave(roomId: string): Promise<void> {
    await this.post(path`/rooms/${roomId}/leave`);
  }

  /** Invites a user. */
  async invite(roomId: string, userId: string): Promise<void> {
    await this.post(path`/rooms/${roomId}/invite`, { user_id: userId });
  }

  /** Sends an event and returns its id. */
  async send(roomId: string, { type, content }: { type: string; content: Json }): Promise<string> {
    return (await this.put(path`/rooms/${roomId}/send/${type}/${`t${transactions++}`}`, content)).event_id;
  }

  /** Sends a text message and returns its event id. */
  async sendText(roomId: string, body: string): Promise<string> {
    return await this.send(roomId, { type: "m.room.message", content: { msgtype: "m.text", body } });
  }

  /** Sets state and returns the event's id. */
  async setState(
    roomId: string,
    { type, stateKey = "", content }: { type: string; stateKey?: string; content: Json },
  ): Promise<string> {
    return (await this.put(path`/rooms/${roomId}/state/${type}/${stateKey}`, content)).event_id;
  }

  /** Returns the content of one piece of state. */
  async state(roomId: string, { type, stateKey = "" }: { type: string; stateKey?: string }): Promise<Json> {
    return await this.get(path`/rooms/${roomId}/state/${type}/${stateKey}`);
  }

  /** Syncs once, from where the last sync stopped unless `since` says otherwise. */
  async sync(query: RequestOptions["query"] = {}): Promise<Json> {
    const from = this.since === null ? {} : { since: this.since };
    const response = await this.get("/sync", { timeout: 0, ...from, ...query });
    this.since = response.next_batch;
    return response;
  }

  /** Syncs until `predicate` holds for a response, which is returned; what came before is not shown again. */
  async syncUntil(predicate: (response: Json) => boolean, query: RequestOptions["query"] = {}): Promise<Json> {
    const deadline = performance.now() + WAIT_MS;
    let last: Json = null;
    while (performance.now() < deadline) {
      last = await this.sync({ timeout: 2_000, ...query });
      if (predicate(last)) return last;
    }
    assert.fail(`Nothing arrived that ${predicate.toString()}; the last answer was ${JSON.stringify(last)}`);
  }
}

/** Tells whether a sync response shows an event of a joined room, by id or by what it looks like. */
export function hasEvent(roomId: string, wanted: string | ((event: Json) => boolean)): (response: Json) => boolean {
  const matches = typeof wanted === "string" ? (event: Json) => event.event_id === wanted : wanted;
  return (response) => {
    const room = response.rooms?.join?.[roomId];
    return [...room?.timeline?.events ?? [], ...room?.state?.events ?? []].some(matches);
  };
}

/** Tells whether a sync response shows an invitation to a room. */
export function isInvitedTo(roomId: string): (response: Json) => boolean {
  return (response) => response.rooms?.invite?.[roomId] !== undefined;
}

/** Tells whether a sync response has a room among the joined ones. */
export function isJoinedTo(roomId: string): (response: Json) => boolean {
  return (response) => response.rooms?.join?.[roomId] !== undefined;
}
