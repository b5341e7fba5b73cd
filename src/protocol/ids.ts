/**
 * Matrix identifiers and their grammar. Spec: appendices, "Identifier grammar".
 *
 * Each identifier is a branded string made only by its `parse*` function, so that a checked value is told from raw input
 * by the compiler. Historical forms that the spec tells servers to accept are accepted.
 */
import { Buffer } from "node:buffer";
import { isIPv6 } from "node:net";

/** A string that only the named parser makes. */
export type Brand<T, B extends string> = T & { readonly __brand: B };

export type UserId = Brand<string, "UserId">;
export type RoomId = Brand<string, "RoomId">;
export type RoomAlias = Brand<string, "RoomAlias">;
export type EventId = Brand<string, "EventId">;
export type ServerName = Brand<string, "ServerName">;
export type DeviceId = Brand<string, "DeviceId">;

/** User, room, alias and event ids are no longer than this, sigil and domain included. */
export const MAX_ID_BYTES = 255;
const MAX_DEVICE_ID_BYTES = 512;

const NEW_LOCALPART = /^[a-z0-9._=\-/+]+$/;
const SERVER_NAME = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9A-Za-z.-]{1,255}))(?::(\d{1,5}))?$/;
const DOTTED_QUAD = /^\d+\.\d+\.\d+\.\d+$/;

/** Accepts historical localparts, the empty one included. */
export function parseUserId(text: string): UserId | null {
  return isNamespacedId(text, "@") ? text as UserId : null;
}

/** Accepts both forms: with a domain, and without one (room version 12). */
export function parseRoomId(text: string): RoomId | null {
  return isOpaqueId(text, "!") ? text as RoomId : null;
}

/** Accepts any localpart of at least one character without `:` and NUL. */
export function parseRoomAlias(text: string): RoomAlias | null {
  return isNamespacedId(text, "#") && text.charCodeAt(1) !== COLON ? text as RoomAlias : null;
}

/** Accepts both forms: with a domain (room versions 1 and 2), and without one. */
export function parseEventId(text: string): EventId | null {
  return isOpaqueId(text, "$") ? text as EventId : null;
}

/** Accepts a DNS name, an IPv4 address or a bracketed IPv6 address, each with an optional port. */
export function parseServerName(text: string): ServerName | null {
  const match = SERVER_NAME.exec(text);
  if (match === null) return null;
  const [, ipv6, name, port] = match;
  if (port !== undefined && Number(port) > 65535) return null;
  if (ipv6 !== undefined && !isIPv6(ipv6)) return null;
  if (name !== undefined && DOTTED_QUAD.test(name) && !isIpv4(name)) return null;
  return text as ServerName;
}

/** Device ids are opaque; clients may choose them. */
export function parseDeviceId(text: string): DeviceId | null {
  return text.length > 0 && isStorable(text, MAX_DEVICE_ID_BYTES) ? text as DeviceId : null;
}

/** Tells whether a localpart may be given to a new user; existing users may have others. */
export function isValidLocalpart(localpart: string): boolean {
  return NEW_LOCALPART.test(localpart);
}

/** Joins a localpart and a server name; null when the result is too long or the localpart is not allowed at all. */
export function makeUserId(localpart: string, serverName: ServerName): UserId | null {
  return parseUserId(`@${localpart}:${serverName}`);
}

/** Returns the server part of an id; null when it has none. */
export function serverNameOf(id: UserId | RoomAlias): ServerName;
export function serverNameOf(id: string): ServerName | null;
export function serverNameOf(id: string): ServerName | null {
  const cut = id.indexOf(":");
  return cut === -1 ? null : parseServerName(id.slice(cut + 1));
}

/** Returns what stands between the sigil and the colon. */
export function localpartOf(id: UserId | RoomAlias): string {
  return id.slice(1, id.indexOf(":"));
}

const COLON = 0x3a;

function isNamespacedId(text: string, sigil: string): boolean {
  if (!text.startsWith(sigil) || !isStorable(text, MAX_ID_BYTES)) return false;
  const cut = text.indexOf(":");
  return cut !== -1 && parseServerName(text.slice(cut + 1)) !== null;
}

function isOpaqueId(text: string, sigil: string): boolean {
  if (text.length < 2 || !text.startsWith(sigil) || !isStorable(text, MAX_ID_BYTES)) return false;
  const cut = text.indexOf(":");
  return cut === -1 || (cut > 1 && parseServerName(text.slice(cut + 1)) !== null);
}

/** Tells whether text is Unicode without NUL and fits into so many bytes of UTF-8. */
export function isStorable(text: string, maxBytes: number): boolean {
  if (text.length > maxBytes || text.includes("\u0000") || !text.isWellFormed()) return false;
  // A UTF-16 unit takes at most three bytes, so short text needs no counting.
  return text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes;
}

function isIpv4(text: string): boolean {
  return text.split(".").every((part) => part.length <= 3 && Number(part) <= 255);
}
