/** The TURN servers: whether one gives an allocation for what the server hands out to its users. */
import type { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import type { Config } from "../../config/config.ts";
import type { Dns } from "../../federation/dns.ts";
import type { Clock } from "../../lib/clock.ts";
import { makeUserId } from "../../protocol/ids.ts";
import { turnCredentials } from "../../services/turn.ts";
import { fail, type Finding, ok, reasonText, warn } from "./finding.ts";
import { ALLOCATE_SUCCESS, allocateRequest, challengeOf, errorOf, parseStun, type StunCredentials } from "./stun.ts";

const TIMEOUT_MS = 3_000;
const ATTEMPTS = 2;
const URI = /^(turns?|stun):(\[[^\]]+\]|[^:?[\]]+)(?::(\d+))?(?:\?transport=(udp|tcp))?$/i;

interface TurnServer {
  readonly host: string;
  readonly port: number;
  readonly transport: "udp" | "tcp";
}

/** Asks every TURN server for an allocation. */
export async function checkTurn(config: Config, { dns, clock }: { dns: Dns; clock: Clock }): Promise<Finding[]> {
  const { turn, serverName } = config;
  const userId = makeUserId("doctor", serverName);
  if (turn.turnUris.length === 0 || userId === null) return [];
  const requester = {
    userId,
    deviceId: null,
    isGuest: false,
    isAdmin: false,
    isShadowBanned: false,
    appserviceId: null,
  };
  const { username, password } = turnCredentials(requester, { options: turn, clock });
  if (typeof username !== "string" || typeof password !== "string") {
    const message = "turn_uris is set, and neither turn_shared_secret nor turn_username with turn_password";
    return [fail("TURN", { message, advice: "set turn_shared_secret to coturn's static-auth-secret" })];
  }
  return await Promise.all(turn.turnUris.map((uri) => checkUri(uri, { username, password, dns })));
}

async function checkUri(
  uri: string,
  { username, password, dns }: { username: string; password: string; dns: Dns },
): Promise<Finding> {
  const match = URI.exec(uri);
  if (match === null || match[1]?.toLowerCase() === "stun") {
    return fail("TURN", {
      message: `${uri} is not a TURN URI`,
      advice: 'write it as "turn:turn.example.org?transport=udp"',
    });
  }
  const [, scheme = "", name = "", port, transport = "udp"] = match;
  if (scheme.toLowerCase() === "turns") return ok("TURN", `${uri} is not tried: TLS`);
  const host = name.replace(/^\[|\]$/g, "");
  const server: TurnServer = { host, port: Number(port ?? 3478), transport: transport === "tcp" ? "tcp" : "udp" };
  try {
    const [address] = await dns.lookup(host);
    if (address === undefined) throw new Error(`the name ${host} has no address`);
    const problem = await allocate({ ...server, host: address }, { username, password });
    if (problem === null) return ok("TURN", `${uri} gives an allocation`);
    const advice = problem.code === 401
      ? "turn_shared_secret must be coturn's static-auth-secret, with use-auth-secret on, and both clocks right"
      : "look into coturn's log";
    return fail("TURN", {
      message: `${uri} refuses an allocation: ${problem.code} ${problem.reason}`.trimEnd(),
      advice,
    });
  } catch (error) {
    const message = `${uri} does not answer: ${reasonText(error)}`;
    const advice = "check that coturn runs, and that UDP and TCP 3478 are open";
    return (server.transport === "udp" ? fail : warn)("TURN", { message, advice });
  }
}

/** Returns null when the server gives an allocation, else what it says. */
async function allocate(
  server: TurnServer,
  { username, password }: { username: string; password: string },
): Promise<{ code: number; reason: string } | null> {
  // One socket for both requests: the server knows the client by its address.
  await using line = await openLine(server);
  const first = await ask(line, null);
  if (first.type === ALLOCATE_SUCCESS) return null;
  const challenge = challengeOf(first);
  if (challenge === null) return errorOf(first);
  const second = await ask(line, { username, password, ...challenge });
  return second.type === ALLOCATE_SUCCESS ? null : errorOf(second);
}

/** Sends and receives whole messages. */
interface Line extends AsyncDisposable {
  send(bytes: Buffer): void;
  /** Resolves with the next message, or null when time is up. */
  next(timeoutMs: number): Promise<Buffer | null>;
}

async function ask(
  line: Line,
  credentials: StunCredentials | null,
): Promise<NonNullable<ReturnType<typeof parseStun>>> {
  const transactionId = randomBytes(12);
  const request = allocateRequest(transactionId, credentials);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    line.send(request);
    const bytes = await line.next(TIMEOUT_MS);
    const answer = bytes === null ? null : parseStun(bytes);
    if (answer !== null && answer.transactionId.equals(transactionId)) return answer;
  }
  throw new Error("no answer");
}

async function openLine({ host, port, transport }: TurnServer): Promise<Line> {
  const messages: Buffer[] = [];
  let wake = () => {};
  const receive = (bytes: Buffer) => {
    messages.push(bytes);
    wake();
  };
  const next = async (timeoutMs: number): Promise<Buffer | null> => {
    if (messages.length === 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return messages.shift() ?? null;
  };
  if (transport === "udp") {
    const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
    socket.on("message", receive);
    socket.on("error", () => wake());
    const dispose = () => new Promise<void>((resolve) => socket.close(() => resolve()));
    return { send: (bytes) => socket.send(bytes, port, host), next, [Symbol.asyncDispose]: dispose };
  }
  const socket = connect({ host, port });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error("no connection")));
  });
  socket.on("data", receive);
  socket.on("error", () => wake());
  const dispose = () => {
    socket.destroy();
    return Promise.resolve();
  };
  return { send: (bytes) => void socket.write(bytes), next, [Symbol.asyncDispose]: dispose };
}
