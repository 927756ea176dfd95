/**
 * How new messages reach a screen reader without flooding it. A few are read out by the live log itself; when
 * more come than can be listened to, the log is hushed and a count is said instead. Pure: time is passed in.
 */

/** Milliseconds, and the messages of that time that are read out. */
const SPAN = 4_000;
const READ_OUT = 3;

export class AnnouncementLimit {
  #times = []; // of the messages that were read out lately
  #unsaid = 0;

  /** @returns {boolean} whether `count` messages, shown now, are read out; otherwise they count for `summary` */
  readsOut(count, now) {
    this.#times = this.#times.filter((time) => now - time < SPAN);
    if (this.#unsaid === 0 && this.#times.length + count <= READ_OUT) {
      for (let i = 0; i < count; i += 1) this.#times.push(now);
      return true;
    }
    this.#unsaid += count;
    return false;
  }

  /** How many messages were not read out since the last call. */
  summary() {
    const count = this.#unsaid;
    this.#unsaid = 0;
    return count;
  }
}
