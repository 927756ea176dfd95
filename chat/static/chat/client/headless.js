/**
 * Headless stores: `subscribe` and `getSnapshot`, which React's useSyncExternalStore takes as they are. A Svelte store
 * or a Vue `shallowRef` is a line around them.
 */

/** Milliseconds between two notifications of one listener. A catch-up of 10,000 keys would copy the map 10,000 times. */
const EVERY = 16;

/** Snapshots of something that changes: each is immutable, and the same object until the next change. */
export class Snapshots {
  #take;
  #clock;
  #events = new EventTarget();
  #snapshot = null;
  #timer = null;
  #told = -Infinity; // time of the latest notification

  /**
   * @param {() => object} take makes a snapshot
   * @param {{now, setTimeout, clearTimeout}} clock
   */
  constructor(take, clock) {
    this.#take = take;
    this.#clock = clock;
  }

  /** Call `listener` after changes. @returns {() => void} ends it */
  subscribe = (listener) => {
    const handler = () => listener();
    this.#events.addEventListener("change", handler);
    return () => this.#events.removeEventListener("change", handler);
  };

  /** The present snapshot, also between two notifications. */
  get = () => (this.#snapshot ??= Object.freeze(this.#take()));

  /** Something is another now. Listeners are called at once, or at the end of the present interval. */
  changed() {
    this.#snapshot = null;
    const wait = this.#told + EVERY - this.#clock.now();
    if (wait <= 0) this.#notify();
    else this.#timer ??= this.#clock.setTimeout(() => this.#notify(), wait);
  }

  /** Call the listeners now, for the last time. */
  close() {
    if (this.#timer !== null) this.#notify();
  }

  #notify() {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
    this.#told = this.#clock.now();
    this.#events.dispatchEvent(new Event("change"));
  }
}
