/** A push gateway for tests: keeps what it is told and answers as the test wants. */
import type { Json } from "./client.ts";

const WAIT_MS = 20_000;

/** What the gateway answers: a status, and a body with the rejected keys. */
export interface GatewayAnswer {
  readonly status?: number;
  readonly rejected?: readonly string[];
  /** In place of the JSON. */
  readonly text?: string;
}

/** A running gateway. */
export class PushGateway implements AsyncDisposable {
  /** Every notification, in the order of arrival; badges too. */
  readonly notifications: Json[] = [];
  /** Decides the answers. */
  answer: (notification: Json) => GatewayAnswer = () => ({});
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  #arrived: () => void = () => {};

  constructor() {
    const options = { port: 0, hostname: "127.0.0.1", onListen: () => {} };
    this.#server = Deno.serve(options, async (request) => {
      const { notification } = await request.json();
      this.notifications.push(notification);
      const { status = 200, rejected = [], text } = this.answer(notification);
      this.#arrived();
      return text === undefined ? Response.json({ rejected }, { status }) : new Response(text, { status });
    });
  }

  /** The URL for pushers. */
  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/_matrix/push/v1/notify`;
  }

  /** Returns the first notification that fits, from those that came and those to come. */
  async find(fits: (notification: Json) => boolean): Promise<Json> {
    const deadline = performance.now() + WAIT_MS;
    while (true) {
      const found = this.notifications.find(fits);
      if (found !== undefined) return found;
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`Nothing fits; what came: ${JSON.stringify(this.notifications)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#arrived = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}
