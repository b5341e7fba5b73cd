/** A second SDK of another code base: matrix-nio, in a Python process for each client. */
import assert from "node:assert/strict";
import { pythonWith } from "../harness/python.ts";

const FOLDER = new URL("./", import.meta.url).pathname;
type Json = Record<string, unknown>;

/** A client in a process of its own. */
export class NioUser implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;
  readonly #store: string;
  #hasQuit = false;
  #id = "";

  private constructor(python: string, store: string) {
    this.#store = store;
    const args = ["-u", `${FOLDER}nio_client.py`];
    this.#process = new Deno.Command(python, { args, stdin: "piped", stdout: "piped", stderr: "inherit" }).spawn();
    this.#writer = this.#process.stdin.getWriter();
    this.#lines = linesOf(this.#process.stdout);
  }

  /** Registers a user, and logs in with matrix-nio. */
  static async register(base: string, username: string): Promise<NioUser> {
    const password = `secret of ${username}`;
    const body = JSON.stringify({ username, password, inhibit_login: true, auth: { type: "m.login.dummy" } });
    const response = await fetch(`${base}/_matrix/client/v3/register`, { method: "POST", body });
    const answer = await response.text();
    assert.equal(response.status, 200, answer);
    const store = await Deno.makeTempDir({ prefix: "synapse-ts-nio-" });
    const user = new NioUser(await pythonWith("nio", { folder: "tests/clients" }), store);
    const session = await user.#call({ command: "login", base, user: username, password, store });
    user.#id = String(session["user_id"]);
    return user;
  }

  /** The user's id. */
  get id(): string {
    return this.#id;
  }

  /** Makes an encrypted room. */
  async createRoom(invite: readonly string[]): Promise<string> {
    return String((await this.#call({ command: "create_room", invite }))["room_id"]);
  }

  /** Accepts an invitation to an encrypted room. */
  async join(roomId: string): Promise<void> {
    await this.#call({ command: "join", room_id: roomId });
  }

  /** Waits until the client knows that these users have joined. */
  async knows(roomId: string, members: readonly string[]): Promise<void> {
    await this.#call({ command: "wait_members", room_id: roomId, members });
  }

  /** Sends a text, encrypted; returns the event's id. */
  async say(roomId: string, body: string): Promise<string> {
    return String((await this.#call({ command: "send", room_id: roomId, body }))["event_id"]);
  }

  /** Waits for a text of somebody that came encrypted and was decrypted. */
  async hears(roomId: string, { sender, body }: { sender: string; body: string }): Promise<void> {
    const text = await this.#call({ command: "wait_text", room_id: roomId, sender, body });
    assert.equal(text["decrypted"], true, `"${body}" was not encrypted`);
  }

  /** Logs out; returns what could not be decrypted. */
  async quit(): Promise<unknown[]> {
    this.#hasQuit = true;
    const { undecrypted } = await this.#call({ command: "quit" });
    return undecrypted as unknown[];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hasQuit) this.#process.kill("SIGKILL");
    await this.#writer.close().catch(() => {});
    await this.#lines.return?.();
    await this.#process.status;
    await Deno.remove(this.#store, { recursive: true });
  }

  async #call(command: Json): Promise<Json> {
    await this.#writer.write(new TextEncoder().encode(`${JSON.stringify(command)}\n`));
    const { value, done } = await this.#lines.next();
    assert.ok(done !== true, `matrix-nio ended during ${JSON.stringify(command)}`);
    const { ok, error } = JSON.parse(value);
    assert.equal(error, undefined, `${JSON.stringify(command)}: ${error}`);
    return ok;
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}
