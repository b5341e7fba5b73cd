/** Bytes that arrive in pieces. */

/** A peer may send byte by byte, and each piece takes some hundred bytes of its own. */
const MAX_PIECES = 256;

/** Gathers pieces. */
export class GatheredBytes {
  #pieces: Uint8Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(piece: Uint8Array): void {
    this.#pieces.push(piece);
    this.#length += piece.byteLength;
    if (this.#pieces.length >= MAX_PIECES) this.#pieces = [this.#join()];
  }

  /** Returns what was gathered, and begins anew. */
  take(): Uint8Array {
    const [only] = this.#pieces;
    const taken = only !== undefined && this.#pieces.length === 1 ? only : this.#join();
    this.#pieces = [];
    this.#length = 0;
    return taken;
  }

  #join(): Uint8Array {
    const whole = new Uint8Array(this.#length);
    let offset = 0;
    for (const piece of this.#pieces) {
      whole.set(piece, offset);
      offset += piece.byteLength;
    }
    return whole;
  }
}
