import {Backoff} from "./backoff.js";
import {ERROR} from "./protocol.js";

/** Milliseconds until an unanswered command is sent again over a live connection. Doubled each time. */
const ACK_TIMEOUT = 10_000;
const ACK_TIMEOUT_CAP = 60_000;
/** Most milliseconds that are added to the server's `retryAfter`, so that not all clients retry at once. */
const SPREAD = 500;

/**
 * Sends one room's outbox to the server, in order.
 *
 * One command is in flight at a time: if the next one were sent before the reply, a `busy` reply would let it overtake.
 * Each attempt has the same ref, and the server answers a known ref with the first reply; a repeated change has no
 * effect. So sending again is idempotent. In slow mode messages wait, and changes don't.
 */
export class Sender {
  #outbox;
  #room;
  #transmit;
  #clock;
  #random;
  #backoff;
  #timer = null;
  #running = false;
  #epoch = null;
  #underWay = null; // ref of the command in flight, or null
  #slow = null; // timer for the next message in slow mode, or null
  #patience = ACK_TIMEOUT;

  /** @param {{outbox, room: string, transmit: (command) => void, clock, random: () => number}} options */
  constructor({outbox, room, transmit, clock, random}) {
    this.#outbox = outbox;
    this.#room = room;
    this.#transmit = transmit;
    this.#clock = clock;
    this.#random = random;
    this.#backoff = new Backoff({random});
  }

  /** The server accepts commands for the room now, in this epoch. */
  start(epoch) {
    this.#epoch = epoch;
    if (this.#running) return;
    this.#running = true;
    this.#settle();
  }

  /** The connection is lost: the command in flight will be sent again. */
  stop() {
    this.#running = false;
    this.#stopWaiting();
    this.#endSlow();
  }

  /** The outbox has a new entry. */
  wake() {
    if (this.#running && this.#underWay === null && this.#timer === null) this.#deliver();
  }

  /** An entry has its reply, whatever it was. */
  answered(ref) {
    if (ref === this.#underWay) this.#settle();
  }

  /**
   * The server deferred it. `retryAfter` is in milliseconds.
   * @returns {number | null} milliseconds until it is sent again; null: it isn't in flight
   */
  later(ref, {code, retryAfter}) {
    if (ref !== this.#underWay) return null;
    const delay = this.#backoff.next(retryAfter) + (code === ERROR.BUSY ? 0 : Math.floor(SPREAD * this.#random()));
    if (code === ERROR.SLOW_MODE) this.#slowDown(delay);
    else this.#wait(delay);
    return delay;
  }

  #slowDown(delay) {
    this.#endSlow();
    this.#slow = this.#clock.setTimeout(() => {
      this.#slow = null;
      this.wake();
    }, delay);
    this.#next();
  }

  #endSlow() {
    if (this.#slow !== null) this.#clock.clearTimeout(this.#slow);
    this.#slow = null;
  }

  #settle() {
    this.#backoff.reset();
    this.#next();
  }

  #next() {
    this.#stopWaiting();
    this.#patience = ACK_TIMEOUT;
    this.#underWay = null;
    if (this.#running) this.#deliver();
  }

  #deliver() {
    const entry = this.#outbox.first(this.#room, {changesOnly: this.#slow !== null});
    if (!entry) return;
    this.#underWay = entry.ref;
    this.#outbox.tried(entry.ref);
    this.#wait(this.#patience);
    this.#patience = Math.min(2 * this.#patience, ACK_TIMEOUT_CAP);
    this.#transmit(commandOf(entry, this.#epoch));
  }

  #wait(delay) {
    this.#stopWaiting();
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = null;
      this.#deliver();
    }, delay);
  }

  #stopWaiting() {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }
}

function commandOf({ref, room, content, replyTo, change, epoch}, now) {
  if (change) return {...change, room, ref};
  const command = {type: "message", room, content, ref};
  // In another epoch the id would name another message.
  if (replyTo !== undefined && (epoch ?? now) === now) command.replyTo = replyTo;
  return command;
}
