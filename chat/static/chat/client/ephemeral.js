/**
 * What is told to a room and not answered: that the user is typing, and how far they have read. Both are throttled.
 * A position that was read is kept over a lost connection; it never goes back.
 */

/** Milliseconds. */
const TYPING_EVERY = 2_000;
const READ_EVERY = 2_000;

export class Ephemeral {
  #transmit;
  #clock;
  #rooms = new Map(); // room → {here, typedAt, readAt, read, told, timer}: the server was told up to `told`

  /** @param {{transmit: (command) => void, clock}} options */
  constructor({transmit, clock}) {
    this.#transmit = transmit;
    this.#clock = clock;
  }

  /** The server takes signals for the room now. `startOver`: its numbers are others than before. */
  enter(room, read, startOver) {
    const state = this.#of(room);
    if (startOver) state.read = state.told = 0;
    state.here = true;
    state.told = read ?? state.told; // what was on its way when the connection was lost may not have come
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

  /** A message ends the typing for those who see it; the next key starts it anew. */
  spoke(room) {
    this.#of(room).typedAt = -Infinity;
  }

  read(room, seq) {
    const state = this.#of(room);
    if (!Number.isSafeInteger(seq) || seq <= state.read) return;
    state.read = seq;
    this.#tell(room, state);
  }

  /** Nobody may be here any more in two seconds: what waits is told now. */
  tellNow() {
    for (const [room, state] of this.#rooms) {
      this.#stopWaiting(state);
      state.readAt = -Infinity;
      this.#tell(room, state);
    }
  }

  /** Another socket of the same person has read as far. */
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
