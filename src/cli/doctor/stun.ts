/** Messages to a TURN server (RFC 5389 and RFC 5766), as far as one allocation takes. */
import { Buffer } from "node:buffer";
import { createHash, createHmac } from "node:crypto";

/** A message that was received. */
export interface StunMessage {
  readonly type: number;
  readonly transactionId: Buffer;
  readonly attributes: ReadonlyMap<number, Buffer>;
}

/** Types of messages. */
export const ALLOCATE_REQUEST = 0x0003;
export const ALLOCATE_SUCCESS = 0x0103;
export const ALLOCATE_ERROR = 0x0113;

const MAGIC = 0x2112a442;
const USERNAME = 0x0006;
const MESSAGE_INTEGRITY = 0x0008;
const ERROR_CODE = 0x0009;
const LIFETIME = 0x000d;
const REALM = 0x0014;
const NONCE = 0x0015;
const REQUESTED_TRANSPORT = 0x0019;
const UDP = 17;
const HEADER_BYTES = 20;

/** With what an allocation is asked for, once the server has said its realm. */
export interface StunCredentials {
  readonly username: string;
  readonly password: string;
  readonly realm: string;
  readonly nonce: string;
}

/** Returns a request for an allocation. */
export function allocateRequest(transactionId: Buffer, credentials: StunCredentials | null): Buffer {
  const parts = [
    attribute(REQUESTED_TRANSPORT, Buffer.from([UDP, 0, 0, 0])),
    attribute(LIFETIME, Buffer.from([0, 0, 0, 60])),
  ];
  if (credentials === null) return message(transactionId, { body: Buffer.concat(parts), extra: 0 });
  const { username, password, realm, nonce } = credentials;
  parts.push(
    attribute(USERNAME, Buffer.from(username)),
    attribute(REALM, Buffer.from(realm)),
    attribute(NONCE, Buffer.from(nonce)),
  );
  // The hash is over the message as if it ended with it.
  const signed = message(transactionId, { body: Buffer.concat(parts), extra: 24 });
  const key = createHash("md5").update(`${username}:${realm}:${password}`).digest();
  return Buffer.concat([signed, attribute(MESSAGE_INTEGRITY, createHmac("sha1", key).update(signed).digest())]);
}

function message(transactionId: Buffer, { body, extra }: { body: Buffer; extra: number }): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(ALLOCATE_REQUEST, 0);
  header.writeUInt16BE(body.length + extra, 2);
  header.writeUInt32BE(MAGIC, 4);
  return Buffer.concat([header, transactionId, body]);
}

function attribute(type: number, value: Buffer): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt16BE(type, 0);
  header.writeUInt16BE(value.length, 2);
  return Buffer.concat([header, value, Buffer.alloc((4 - (value.length % 4)) % 4)]);
}

/** Reads a message; null for what is none. */
export function parseStun(bytes: Buffer): StunMessage | null {
  if (bytes.length < HEADER_BYTES || bytes.readUInt32BE(4) !== MAGIC) return null;
  const end = HEADER_BYTES + bytes.readUInt16BE(2);
  if (end > bytes.length) return null;
  const attributes = new Map<number, Buffer>();
  for (let at = HEADER_BYTES; at + 4 <= end;) {
    const length = bytes.readUInt16BE(at + 2);
    attributes.set(bytes.readUInt16BE(at), bytes.subarray(at + 4, Math.min(end, at + 4 + length)));
    at += 4 + length + (4 - (length % 4)) % 4;
  }
  return { type: bytes.readUInt16BE(0), transactionId: bytes.subarray(8, HEADER_BYTES), attributes };
}

/** Returns what an error answer says. */
export function errorOf({ attributes }: StunMessage): { code: number; reason: string } {
  const value = attributes.get(ERROR_CODE);
  if (value === undefined || value.length < 4) return { code: 0, reason: "" };
  return { code: (value[2] ?? 0) * 100 + (value[3] ?? 0), reason: value.subarray(4).toString() };
}

/** Returns what the server wants to be named in the second request, or null. */
export function challengeOf({ attributes }: StunMessage): { realm: string; nonce: string } | null {
  const [realm, nonce] = [attributes.get(REALM), attributes.get(NONCE)];
  return realm === undefined || nonce === undefined ? null : { realm: realm.toString(), nonce: nonce.toString() };
}
