/**
 * Signals to a room that get no reply: the user is typing, and how far they have read. Both are throttled. The read
 * position survives a lost connection; it never goes back.
 */

/** Milliseconds. */
const TYPING_EVERY = 2_000;
const READ_EVERY = 2_000;

export class Ephemeral {
  #transmit;
  #clock;
  #rooms = new Map(); // room → {here, typedAt, readAt, read, told, timer}: `told` is the position last sent

  /** @param {{transmit: (command) => void, clock}} options */
  constructor({transmit, clock}) {
    this.#transmit = transmit;
    this.#clock = clock;
  }

  /** The server accepts signals for the room now. `startOver`: its numbers start over. */
  enter(room, read, startOver) {
    const state = this.#of(room);
    if (startOver) state.read = state.told = 0;
    state.here = true;
    state.told = read ?? state.told; // a signal in flight when the connection was lost may not have arrived
    this.read(room, state.told);
    this.#tell(room, state);
  }

  /** The link is gone. */
  lost() {
    for (const state of this.#rooms.values()) {
      state.here = false;
      this.#stopWaiting(state);
    }
  }

  /** The user is out of the room, and may come back. */
  pause(room) {
    const state = this.#of(room);
    state.here = false;
    this.#stopWaiting(state);
  }

  leave(room) {
    const state = this.#rooms.get(room);
    if (state) this.#stopWaiting(state);
    this.#rooms.delete(room);
  }

  clear() {
    for (const room of [...this.#rooms.keys()]) this.leave(room);
  }

  typing(room) {
    const state = this.#of(room);
    const now = this.#clock.now();
    if (!state.here || now - state.typedAt < TYPING_EVERY) return;
    state.typedAt = now;
    this.#transmit({type: "typing", room});
  }

  /** A message ends the typing notice at its readers; the next key starts it again. */
  spoke(room) {
    this.#of(room).typedAt = -Infinity;
  }

  read(room, seq) {
    const state = this.#of(room);
    if (!Number.isSafeInteger(seq) || seq <= state.read) return;
    state.read = seq;
    this.#tell(room, state);
  }

  /** The page may be gone in two seconds: send the waiting positions now. */
  tellNow() {
    for (const [room, state] of this.#rooms) {
      this.#stopWaiting(state);
      state.readAt = -Infinity;
      this.#tell(room, state);
    }
  }

  /** Another socket of the same user has read this far. */
  readElsewhere(room, seq) {
    const state = this.#of(room);
    state.told = Math.max(state.told, seq);
    this.read(room, seq);
  }

  #tell(room, state) {
    if (!state.here || state.timer !== null || state.read <= state.told) return;
    const wait = state.readAt + READ_EVERY - this.#clock.now();
    if (wait > 0) {
      state.timer = this.#clock.setTimeout(() => {
        state.timer = null;
        this.#tell(room, state);
      }, wait);
      return;
    }
    state.readAt = this.#clock.now();
    state.told = state.read;
    this.#transmit({type: "read", room, seq: state.read});
  }

  #stopWaiting(state) {
    if (state.timer !== null) this.#clock.clearTimeout(state.timer);
    state.timer = null;
  }

  #of(room) {
    let state = this.#rooms.get(room);
    if (!state) {
      state = {here: false, typedAt: -Infinity, readAt: -Infinity, read: 0, told: 0, timer: null};
      this.#rooms.set(room, state);
    }
    return state;
  }
}
