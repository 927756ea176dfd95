/** The longest wait in milliseconds that a server may ask for: a timer of more than 2^31 would fire at once. */
const ASKED_LIMIT = 300_000;

/**
 * Exponential back-off with full jitter: each delay is drawn evenly from 0 to a ceiling that doubles.
 *
 * Full jitter, because a thousand clients that lost the same server must not reconnect in the same second: drawing from
 * the whole range spreads them evenly, adding a little noise to a fixed step does not.
 */
export class Backoff {
  #base;
  #cap;
  #random;
  #attempt = 0;

  /** @param {{base?: number, cap?: number, random?: () => number}} [options] milliseconds */
  constructor({base = 500, cap = 30_000, random = Math.random} = {}) {
    this.#base = base;
    this.#cap = cap;
    this.#random = random;
  }

  /**
   * The next delay in milliseconds.
   * @param {number} [asked] the one that the server asks for, if it does
   */
  next(asked) {
    if (Number.isFinite(asked)) return Math.min(Math.max(asked, 0), ASKED_LIMIT);
    // 2 ** 30 is past every cap; without the bound a night offline would overflow to Infinity.
    const ceiling = Math.min(this.#cap, this.#base * 2 ** Math.min(this.#attempt, 30));
    this.#attempt += 1;
    return Math.floor(this.#random() * ceiling);
  }

  /** A delay of at least `pause` milliseconds, for a client that was turned away. */
  after(pause) {
    return pause + Math.floor(this.#random() * pause) + this.next();
  }

  /** A delay for a client without a network: about the cap, still spread. */
  slow() {
    return Math.floor(this.#cap * (0.5 + this.#random() / 2));
  }

  reset() {
    this.#attempt = 0;
  }
}

/** The browser's timers, and a monotonic time: a corrected wall clock must not look like silence. */
export const systemClock = {
  now: () => performance.now(),
  setTimeout: (...args) => globalThis.setTimeout(...args),
  clearTimeout: (id) => globalThis.clearTimeout(id),
};
