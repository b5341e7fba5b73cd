/**
 * `dist/synapse-ts` by itself: in an empty folder, with an empty environment, so neither Deno nor node_modules nor the
 * sources can help it. Everything it needs (migrations, workers, wasm, templates) must be inside.
 */
import { equal } from "node:assert/strict";
import { freePort, waitForPort } from "../harness/ports.ts";
import { type ProcessResult, RunningProcess, runProcess } from "../harness/process.ts";

/** The program. */
export const EXECUTABLE = new URL("../../dist/synapse-ts", import.meta.url).pathname;
/** The password of everybody. */
export const PASSWORD = "correct horse battery staple";

/** A JSON object. */
export type Json = Record<string, unknown>;

/** An empty folder in which the executable runs, and the address its server listens on. */
export class Site implements AsyncDisposable {
  readonly #folder: string;
  readonly #port = freePort();
  /** Those of all listeners. */
  #ports = [this.#port];
  #server: RunningProcess | null = null;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Where the server listens. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Returns a file's path. */
  path(name: string): string {
    return `${this.#folder}/${name}`;
  }

  /** Runs a command to its end. */
  run(args: readonly string[], program = EXECUTABLE): Promise<ProcessResult> {
    return runProcess(program, { args, cwd: this.#folder, env: { PATH: "" }, clearEnv: true });
  }

  /** Writes a configuration; `options` come on top of it. */
  async generateConfig(
    { listeners: more = [], ...options }: Json & { listeners?: Json[] } = {},
  ): Promise<ProcessResult> {
    const result = await this.run(["generate-config", "--server-name", "localhost", "--report-stats", "no"]);
    const listeners = [{
      port: this.#port,
      type: "http",
      tls: false,
      bind_addresses: ["127.0.0.1"],
      resources: [{ names: ["client", "federation"] }],
    }];
    // JSON is YAML: a second file replaces the generated listeners.
    const text = JSON.stringify({ listeners: [...listeners, ...more], ...options });
    this.#ports = [this.#port, ...more.map(({ port }) => Number(port))];
    await Deno.writeTextFile(this.path("port.yaml"), text);
    return result;
  }

  /** Starts the server and returns how long it took to listen on all its ports, which it opens one after another. */
  async serve(): Promise<number> {
    const started = performance.now();
    this.#server = new RunningProcess(EXECUTABLE, {
      args: ["serve", "-c", "homeserver.yaml", "-c", "port.yaml"],
      cwd: this.#folder,
      env: { PATH: "" },
      clearEnv: true,
    });
    const { exited } = this.#server;
    const died = exited.then((code) => {
      throw new Error(`serve ended with ${code}: ${this.#server?.stderr}`);
    });
    await Promise.race([Promise.all(this.#ports.map((port) => waitForPort(port))), died]);
    died.catch(() => {});
    return performance.now() - started;
  }

  /** Asks the server to stop and returns its exit code. */
  async stop(): Promise<number | null> {
    const code = await this.#server?.stop();
    return code ?? null;
  }

  /** Ends the server as a power failure does. */
  async kill(): Promise<void> {
    await this.#server?.kill();
  }

  /** Asks the server and returns what it answers with 200. */
  async call(method: string, path: string, { token, body }: { token?: string; body?: Json } = {}): Promise<Json> {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = await response.text();
    equal(response.status, 200, `${method} ${path}: ${answer}`);
    return JSON.parse(answer);
  }

  /** Returns an access token. */
  async login(user: string): Promise<string> {
    const body = { type: "m.login.password", identifier: { type: "m.id.user", user }, password: PASSWORD };
    return String((await this.call("POST", "/_matrix/client/v3/login", { body })).access_token);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** Makes one. */
export async function newSite(): Promise<Site> {
  return new Site(await Deno.makeTempDir({ prefix: "synapse-ts-site-" }));
}
