/** A TURN server for tests, which knows allocations only: it asks for credentials and checks them (RFC 5389). */
import { Buffer } from "node:buffer";
import { createHash, createHmac } from "node:crypto";
import { createSocket } from "node:dgram";

const REALM = "turn.test";
const NONCE = "nonce1";

/** A running server. */
export interface TestTurn extends AsyncDisposable {
  readonly port: number;
}

/** Starts one that takes credentials made with the secret. */
export async function startTurn(secret: string): Promise<TestTurn> {
  const socket = createSocket("udp4");
  socket.on("message", (bytes, from) => socket.send(reply(bytes, secret), from.port, from.address));
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", () => resolve()));
  const dispose = () => new Promise<void>((resolve) => socket.close(() => resolve()));
  return { port: socket.address().port, [Symbol.asyncDispose]: dispose };
}

function reply(request: Buffer, secret: string): Buffer {
  const attributes = new Map<number, { value: Buffer; at: number }>();
  for (let at = 20; at + 4 <= request.length;) {
    const length = request.readUInt16BE(at + 2);
    attributes.set(request.readUInt16BE(at), { value: request.subarray(at + 4, at + 4 + length), at });
    at += 4 + length + (4 - (length % 4)) % 4;
  }
  const hash = attributes.get(0x0008);
  const username = attributes.get(0x0006)?.value.toString() ?? "";
  if (hash === undefined) {
    return packet(request, { type: 0x0113, body: [error(401), text(0x0014, REALM), text(0x0015, NONCE)] });
  }
  const password = createHmac("sha1", secret).update(username).digest("base64");
  const key = createHash("md5").update(`${username}:${REALM}:${password}`).digest();
  const expected = createHmac("sha1", key).update(request.subarray(0, hash.at)).digest();
  const isRight = expected.equals(hash.value) && Number(username.split(":")[0]) > Date.now() / 1000;
  if (!isRight) return packet(request, { type: 0x0113, body: [error(401), text(0x0014, REALM), text(0x0015, NONCE)] });
  return packet(request, { type: 0x0103, body: [] });
}

function packet(request: Buffer, { type, body }: { type: number; body: readonly Buffer[] }): Buffer {
  const content = Buffer.concat([...body]);
  const header = Buffer.from(request.subarray(0, 20));
  header.writeUInt16BE(type, 0);
  header.writeUInt16BE(content.length, 2);
  return Buffer.concat([header, content]);
}

function error(code: number): Buffer {
  return attribute(
    0x0009,
    Buffer.concat([Buffer.from([0, 0, Math.floor(code / 100), code % 100]), Buffer.from("Unauthorized")]),
  );
}

function text(type: number, value: string): Buffer {
  return attribute(type, Buffer.from(value));
}

function attribute(type: number, value: Buffer): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt16BE(type, 0);
  header.writeUInt16BE(value.length, 2);
  return Buffer.concat([header, value, Buffer.alloc((4 - (value.length % 4)) % 4)]);
}
