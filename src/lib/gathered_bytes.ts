/** Bytes that arrive in pieces, however small. */

const NOTHING = new Uint8Array(0);

/** Gathers pieces: each byte is copied a few times at most. */
export class GatheredBytes {
  #room: Uint8Array = NOTHING;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(piece: Uint8Array): void {
    const length = this.#length + piece.byteLength;
    if (length > this.#room.byteLength) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#room.byteLength));
      larger.set(this.#room.subarray(0, this.#length));
      this.#room = larger;
    }
    this.#room.set(piece, this.#length);
    this.#length = length;
  }

  /** Returns what was gathered, and begins anew. */
  take(): Uint8Array {
    const taken = this.#room.subarray(0, this.#length);
    this.#room = NOTHING;
    this.#length = 0;
    return taken;
  }
}
