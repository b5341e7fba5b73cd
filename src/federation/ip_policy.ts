/**
 * Which addresses outbound requests may reach: `ip_range_blacklist` and its exceptions, `ip_range_whitelist`.
 *
 * Names and literals are judged by the address a connection would be made to, so spellings such as `0x7f.1` are no way
 * around. An IPv6 address that only carries an IPv4 one is judged as both.
 */
import { BlockList, isIP } from "node:net";

/** Ranges in CIDR notation, or single addresses. */
export interface IpRanges {
  readonly denied: readonly string[];
  readonly allowed: readonly string[];
}

/** Judges addresses. */
export class IpPolicy {
  readonly #denied: BlockList;
  readonly #allowed: BlockList;
  readonly #isOpen: boolean;

  constructor({ denied, allowed }: IpRanges) {
    this.#denied = blockListOf(denied);
    this.#allowed = blockListOf(allowed);
    this.#isOpen = denied.length === 0;
  }

  /** Tells whether a connection to the IP address may be made; never for what is no address. */
  allows(address: string): boolean {
    if (isIP(address) === 0) return false;
    if (this.#isOpen) return true;
    const carried = carriedIpv4(address);
    const forms = carried === null ? [address] : [address, carried];
    if (forms.some((form) => isIn(this.#allowed, form))) return true;
    return !forms.some((form) => isIn(this.#denied, form));
  }
}

function blockListOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = "", prefix] = range.split("/");
    const type = isIP(address) === 6 ? "ipv6" : "ipv4";
    if (prefix === undefined) list.addAddress(address, type);
    else list.addSubnet(address, Number(prefix), type);
  }
  return list;
}

function isIn(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

/** Returns the IPv4 address inside a mapped, compatible, NAT64 (RFC 6052) or 6to4 (RFC 3056) address, or null. */
function carriedIpv4(address: string): string | null {
  if (isIP(address) !== 6) return null;
  const groups = expandIpv6(address);
  const [first, , , , , sixth] = groups;
  const high = groups.slice(0, 5).every((group) => group === 0);
  if (high && (sixth === 0xffff || sixth === 0)) return dotted(groups.slice(6));
  if (first === 0x64 && groups[1] === 0xff9b && groups.slice(2, 6).every((group) => group === 0)) {
    return dotted(groups.slice(6));
  }
  return first === 0x2002 ? dotted(groups.slice(1, 3)) : null;
}

function dotted(groups: readonly number[]): string {
  return groups.flatMap((group) => [group >> 8, group & 0xff]).join(".");
}

/** Returns the eight groups of a valid IPv6 address. */
function expandIpv6(address: string): number[] {
  const [bare = ""] = address.split("%");
  const plain = bare.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) => {
    const hex = (high: string, low: string) => (Number(high) * 256 + Number(low)).toString(16);
    return `${hex(a, b)}:${hex(c, d)}`;
  });
  const [head = "", tail] = plain.split("::");
  const parse = (part: string) => part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const before = parse(head);
  const after = tail === undefined ? [] : parse(tail);
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}
