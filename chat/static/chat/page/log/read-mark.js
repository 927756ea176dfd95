/**
 * How far the reader has read, and from where on messages are new to them. Pure.
 *
 * Positions are numbers of the room's log. `line` is where the line "new" stands: it stays where it is while the
 * reader reads, and moves when they look away, so that it shows what came meanwhile.
 */
export class ReadMark {
  line;
  #read; // null: nothing is known

  /** @param {number | null} read what was kept of earlier visits */
  constructor(read = null) {
    this.#read = read;
    this.line = read;
  }

  get read() {
    return this.#read;
  }

  /** The reader saw everything up to here. Returns whether that is news. */
  saw(seq) {
    if (seq <= (this.#read ?? 0)) return false;
    this.#read = seq;
    return true;
  }

  /** The reader looks away. */
  lookedAway() {
    this.line = this.#read ?? 0;
  }

  /** Read elsewhere, by the same person; `away` tells whether they don't look at this page. */
  readElsewhere(seq, {away}) {
    this.saw(seq);
    if (away) this.lookedAway();
  }

  /** Nothing is new any more: who answers has read. */
  clearLine() {
    this.line = null;
  }

  /** The log is of another life. */
  reset() {
    this.line = null;
    this.#read = null;
  }
}
