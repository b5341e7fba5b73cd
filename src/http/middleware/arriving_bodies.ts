/**
 * How much memory the bodies of requests may take while they arrive. Nobody has proved by then who sends, or nobody who
 * would be held to it: so when there is no more room, it is not the newcomer that has to go, but a body of the address
 * that holds most of it, and of those the one that has been arriving for longest. Who sends slowly, or from many
 * connections at once, gets in the way of no one else.
 */

const MIB = 1024 * 1024;
/** Room for some of the largest bodies. What usual bodies take of it is gone within milliseconds. */
const MAX_ARRIVING_BYTES = 24 * MIB;

interface Arrival {
  readonly group: string;
  readonly end: () => void;
  bytes: number;
}

/** What one body holds. */
export interface ArrivingBody extends Disposable {
  /** Takes more, which may end other bodies, or this one. */
  take(bytes: number): void;
}

/** Counts the bytes of bodies that have not arrived whole. */
export class ArrivingBodies {
  readonly #maxBytes: number;
  /** In the order in which they began. */
  readonly #arrivals = new Set<Arrival>();
  readonly #byGroup = new Map<string, number>();
  #held = 0;

  constructor(maxBytes: number = MAX_ARRIVING_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that are held now. */
  get held(): number {
    return this.#held;
  }

  /** Begins a body from an address. `end` is called once if it must make room, and must let go of what has come. */
  open(address: string, end: () => void): ArrivingBody {
    const arrival: Arrival = { group: groupOf(address), end, bytes: 0 };
    this.#arrivals.add(arrival);
    return {
      take: (bytes) => {
        if (!this.#arrivals.has(arrival)) return;
        this.#add(arrival, bytes);
        while (this.#held > this.#maxBytes) this.#endOne();
      },
      [Symbol.dispose]: () => this.#remove(arrival),
    };
  }

  #endOne(): void {
    let [largest, most] = ["", -1];
    for (const [group, bytes] of this.#byGroup) if (bytes > most) [largest, most] = [group, bytes];
    for (const arrival of this.#arrivals) {
      if (arrival.group !== largest || arrival.bytes === 0) continue;
      this.#remove(arrival);
      arrival.end();
      return;
    }
  }

  #add(arrival: Arrival, bytes: number): void {
    arrival.bytes += bytes;
    this.#held += bytes;
    const ofGroup = (this.#byGroup.get(arrival.group) ?? 0) + bytes;
    if (ofGroup > 0) this.#byGroup.set(arrival.group, ofGroup);
    else this.#byGroup.delete(arrival.group);
  }

  #remove(arrival: Arrival): void {
    if (this.#arrivals.delete(arrival)) this.#add(arrival, -arrival.bytes);
  }
}

/** Returns what one sender has at hand of addresses: all that begin with the same four groups, where it is IPv6. */
function groupOf(address: string): string {
  if (!address.includes(":")) return address;
  const [start = ""] = address.split("::", 1);
  return start.split(":").slice(0, 4).join(":");
}
