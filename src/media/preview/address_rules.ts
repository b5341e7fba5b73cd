/**
 * Which addresses previews may reach: the defense against links that make the server look into its own network.
 *
 * Addresses are judged where the connection is made, after the name was resolved, so a name that resolves differently
 * the second time gains nothing. Names that are addresses are never resolved and are judged by themselves.
 */
import { BlockList, isIP } from "node:net";

/** An address as the resolver gives it. */
export interface ResolvedAddress {
  readonly address: string;
  readonly family: number;
}

/** Finds the addresses of a name. */
export type Resolve = (hostname: string) => Promise<readonly ResolvedAddress[]>;

/** Judges addresses by the configured ranges. */
export class AddressRules {
  readonly #denied: BlockList;
  readonly #allowed: BlockList;

  constructor({ denied, allowed }: { denied: readonly string[]; allowed: readonly string[] }) {
    this.#denied = listOf(denied);
    this.#allowed = listOf(allowed);
  }

  /** Tells whether a connection may go to the address; exceptions outrank the list. */
  isAllowed(address: string): boolean {
    const plain = address.replace(/%.*$/, "");
    if (isIP(plain) === 0) return false;
    const forms = formsOf(plain);
    return forms.some((form) => contains(this.#allowed, form)) || !forms.some((form) => contains(this.#denied, form));
  }

  /** Tells whether a URL's host may be tried at all: every name, and allowed addresses. */
  mayTry(host: string): boolean {
    const literal = host.startsWith("[") ? host.slice(1, -1) : host;
    return isIP(literal) === 0 || this.isAllowed(literal);
  }
}

function contains(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 4 ? "ipv4" : "ipv6");
}

/** Returns the address, and the IPv4 address in it where it is a mapped, compatible, NAT64 or 6to4 one. */
function formsOf(address: string): readonly string[] {
  if (isIP(address) !== 6) return [address];
  const words = wordsOf(address);
  const [a = 0, b = 0, c = 0, , , f = 0, g = 0, h = 0] = words;
  const startsWithZeros = words.slice(0, 5).every((word) => word === 0);
  const isEmbedded = (startsWithZeros && (f === 0xffff || (f === 0 && g !== 0))) || (a === 0x64 && b === 0xff9b);
  if (isEmbedded) return [address, dotted(g, h)];
  return a === 0x2002 ? [address, dotted(b, c)] : [address];
}

function dotted(high: number, low: number): string {
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

function wordsOf(address: string): number[] {
  const dots = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const text = dots === null ? address : `${dots[1]}${((Number(dots[2]) << 8) | Number(dots[3])).toString(16)}:` +
    `${((Number(dots[4]) << 8) | Number(dots[5])).toString(16)}`;
  const [head = "", tail] = text.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const middle = tail === undefined ? [] : Array.from({ length: 8 - left.length - right.length }, () => "0");
  return [...left, ...middle, ...right].map((word) => parseInt(word, 16));
}

function listOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = "", prefix] = range.split("/");
    const kind = isIP(address) === 4 ? "ipv4" : "ipv6";
    if (prefix === undefined) list.addAddress(address, kind);
    else list.addSubnet(address, Number(prefix), kind);
  }
  return list;
}
