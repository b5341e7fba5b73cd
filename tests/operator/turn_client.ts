/** As much of a TURN client as it takes to get an allocation. RFC 8489 and 8656. */
import { createHash, createHmac, randomBytes } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { Buffer } from "node:buffer";

/** What the homeserver hands out. */
export interface TurnCredentials {
  readonly username: string;
  readonly password: string;
}

const MAGIC = 0x2112a442;
const ALLOCATE = 0x0003;
const SUCCESS = 0x0103;
const ATTRIBUTE = { username: 0x0006, integrity: 0x0008, error: 0x0009, realm: 0x0014, nonce: 0x0015 };
const RELAYED_ADDRESS = 0x0016;
const REQUESTED_TRANSPORT = 0x0019;
const UDP = 17;
const TIMEOUT_MS = 20_000;

interface Message {
  readonly type: number;
  readonly attributes: ReadonlyMap<number, Buffer>;
}

/** Asks a TURN server on this machine for an allocation; returns the relay's port, or the code of its refusal. */
export async function allocate(
  port: number,
  credentials: TurnCredentials,
): Promise<{ port: number } | { error: number }> {
  const socket = createSocket("udp4");
  try {
    const transport: [number, Buffer] = [REQUESTED_TRANSPORT, Buffer.from([UDP, 0, 0, 0])];
    // The first answer is a refusal that says with what to sign.
    const challenge = await exchange(socket, { port, message: build([transport], null) });
    const realm = challenge.attributes.get(ATTRIBUTE.realm);
    const nonce = challenge.attributes.get(ATTRIBUTE.nonce);
    if (realm === undefined || nonce === undefined) throw new Error("The TURN server asked for no credentials");
    const { username, password } = credentials;
    const key = createHash("md5").update(`${username}:${realm.toString()}:${password}`).digest();
    const signed = build([
      transport,
      [ATTRIBUTE.username, Buffer.from(username)],
      [ATTRIBUTE.realm, realm],
      [ATTRIBUTE.nonce, nonce],
    ], key);
    const { type, attributes } = await exchange(socket, { port, message: signed });
    if (type !== SUCCESS) return { error: errorCode(attributes.get(ATTRIBUTE.error)) };
    const address = attributes.get(RELAYED_ADDRESS);
    if (address === undefined) throw new Error("The allocation has no address");
    return { port: address.readUInt16BE(2) ^ (MAGIC >>> 16) };
  } finally {
    socket.close();
  }
}

function build(attributes: readonly [number, Buffer][], key: Buffer | null): Buffer {
  const parts = attributes.map(([type, value]) => encode(type, value));
  const body = Buffer.concat(parts);
  const header = Buffer.alloc(20);
  header.writeUInt16BE(ALLOCATE, 0);
  header.writeUInt16BE(body.length + (key === null ? 0 : 24), 2);
  header.writeUInt32BE(MAGIC, 4);
  randomBytes(12).copy(header, 8);
  const message = Buffer.concat([header, body]);
  if (key === null) return message;
  return Buffer.concat([message, encode(ATTRIBUTE.integrity, createHmac("sha1", key).update(message).digest())]);
}

function encode(type: number, value: Buffer): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt16BE(type, 0);
  header.writeUInt16BE(value.length, 2);
  return Buffer.concat([header, value, Buffer.alloc((4 - (value.length % 4)) % 4)]);
}

function parse(data: Buffer): Message {
  const attributes = new Map<number, Buffer>();
  for (let at = 20; at + 4 <= data.length;) {
    const length = data.readUInt16BE(at + 2);
    attributes.set(data.readUInt16BE(at), data.subarray(at + 4, at + 4 + length));
    at += 4 + length + ((4 - (length % 4)) % 4);
  }
  return { type: data.readUInt16BE(0), attributes };
}

function errorCode(value: Buffer | undefined): number {
  return value === undefined ? 0 : (value[2] ?? 0) * 100 + (value[3] ?? 0);
}

/** Sends a request as often as it takes for an answer: datagrams get lost, and the server may be starting. */
function exchange(socket: Socket, { port, message }: { port: number; message: Buffer }): Promise<Message> {
  return new Promise((resolve, reject) => {
    const send = () => socket.send(message, port, "127.0.0.1");
    const again = setInterval(send, 250);
    const timer = setTimeout(() => finish(() => reject(new Error("The TURN server does not answer"))), TIMEOUT_MS);
    const finish = (settle: () => void) => {
      clearInterval(again);
      clearTimeout(timer);
      socket.removeAllListeners("message");
      settle();
    };
    socket.on("message", (data: Buffer) => {
      // An answer has the transaction of its request.
      if (data.subarray(8, 20).equals(message.subarray(8, 20))) finish(() => resolve(parse(data)));
    });
    send();
  });
}
