/** Other servers that take in what a server sends, each with a user who can join rooms. */
import assert from "node:assert/strict";
import type { JsonObject } from "../../src/protocol/json.ts";
import { pduJson } from "../../src/protocol/event_format.ts";
import type { Signer } from "../../src/protocol/signatures.ts";
import { type Answer, askAs, keyDocument } from "./inbound.ts";
import { type Peer, type SeenRequest, startPeer } from "./peer.ts";
import { ALL_VERSIONS, complete, enc } from "./resident.ts";
import { server, signerOf } from "./environment.ts";

/** A transaction as it came. */
export interface ReceivedTransaction {
  readonly txnId: string;
  readonly pdus: readonly JsonObject[];
  readonly edus: readonly JsonObject[];
}

/** What a receiver does with transactions. */
export type Mood = "takes" | "drops" | "fails";

const DAY = 86_400_000;
const WAIT_MS = 30_000;

/** Another server. */
export class Receiver implements AsyncDisposable {
  readonly #peer: Peer;
  readonly signer: Signer;
  /** Those that were answered with 200. */
  readonly taken: ReceivedTransaction[] = [];
  /** How many transactions came, taken or not. */
  attempts = 0;
  /** How many came while another was not answered. */
  overlaps = 0;
  mood: Mood = "takes";
  /** While set, transactions are not answered. */
  gate: Promise<void> | null = null;
  #open = 0;
  #waiting: (() => void)[] = [];

  private constructor(peer: Peer, signer: Signer) {
    this.#peer = peer;
    this.signer = signer;
    peer.handler = (request) => this.#answer(request);
  }

  /** Starts one that is reached by a name, or by its address. */
  static async start({ host = "peer.test" }: { host?: "peer.test" | "127.0.0.1" } = {}): Promise<Receiver> {
    const peer = await startPeer({ names: [host === "peer.test" ? "DNS:peer.test" : "IP:127.0.0.1"] });
    return new Receiver(peer, signerOf(server(`${host}:${peer.port}`)));
  }

  /** Its user. */
  get userId(): string {
    return `@bob:${this.signer.serverName}`;
  }

  /** The text of each message, or the type of each other event, as they came. */
  get texts(): string[] {
    return this.taken.flatMap(({ pdus }) =>
      pdus.map(({ type, content }) => String((content as JsonObject).body ?? type))
    );
  }

  /** Asks a server something. */
  async ask(base: string, path: string, body?: JsonObject): Promise<Answer> {
    const inbound = {
      async fetch(target: string, init?: RequestInit): Promise<Answer> {
        const response = await fetch(base + target, init);
        return { status: response.status, body: await response.json() };
      },
    };
    const request = { path: `/_matrix/federation${path}`, destination: "hs.test" };
    return await askAs(this.signer, inbound, body === undefined ? request : { ...request, body });
  }

  /** Joins a room of the server there. */
  async join(base: string, roomId: string): Promise<void> {
    const made = await this.ask(base, `/v1/make_join/${enc(roomId)}/${enc(this.userId)}?${ALL_VERSIONS}`);
    assert.equal(made.status, 200, JSON.stringify(made.body));
    const event = complete(made.body, this.signer);
    const path = `/v2/send_join/${enc(roomId)}/${enc(event.eventId)}`;
    const sent = await this.ask(base, path, JSON.parse(pduJson(event)));
    assert.equal(sent.status, 200, JSON.stringify(sent.body));
  }

  /** Resolves once something holds of what came; it is looked at after each transaction. */
  async until(what: string, holds: () => boolean): Promise<void> {
    const end = performance.now() + WAIT_MS;
    while (!holds()) {
      const left = end - performance.now();
      if (left <= 0) assert.fail(`${what} did not come; there is ${JSON.stringify(this.texts)}`);
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#peer[Symbol.asyncDispose]();
  }

  async #answer({ url, body }: SeenRequest): Promise<Awaited<ReturnType<Peer["handler"]>>> {
    if (url.startsWith("/_matrix/key/")) return { json: keyDocument(this.signer, { validUntilTs: Date.now() + DAY }) };
    const txnId = /\/send\/([^/?]+)/.exec(url)?.[1];
    if (txnId === undefined) return { status: 404, json: { errcode: "M_NOT_FOUND", error: "Nothing here" } };
    this.attempts++;
    if (this.#open++ > 0) this.overlaps++;
    try {
      // The mood counts when the answer goes out.
      if (this.gate !== null) await this.gate;
      if (this.mood === "drops") return { drop: true };
      if (this.mood === "fails") return { status: 502, json: {} };
      const { pdus, edus } = JSON.parse(body);
      this.taken.push({ txnId, pdus, edus });
      return { json: { pdus: {} } };
    } finally {
      this.#open--;
      for (const resolve of this.#waiting.splice(0)) resolve();
    }
  }
}
