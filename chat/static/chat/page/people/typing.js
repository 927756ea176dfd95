/** Milliseconds that "is typing" holds after the last sign. A client that types sends one every two seconds. */
const HOLDS = 5_000;

/** Who is typing, by the clock that is passed in. Pure. */
export class TypingPeople {
  #until = new Map(); // name → clock time

  typed(name, now) {
    this.#until.delete(name); // to the end of the list: it is the latest
    this.#until.set(name, now + HOLDS);
  }

  /** The name sent its message, or went. */
  stopped(name) {
    this.#until.delete(name);
  }

  clear() {
    this.#until.clear();
  }

  names(now) {
    for (const [name, until] of this.#until) if (until <= now) this.#until.delete(name);
    return [...this.#until.keys()];
  }

  /** The clock time at which the list gets shorter by itself; null when it is empty. */
  get nextChange() {
    return this.#until.size ? Math.min(...this.#until.values()) : null;
  }
}
