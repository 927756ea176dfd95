import {Backoff} from "./backoff.js";
import {ChatError, isForLater, newRef} from "./protocol.js";

/** Milliseconds after which an unanswered join is sent again over a live connection. */
const JOIN_TIMEOUT = 10_000;
/** Milliseconds: the longest wait before a retry, if a busy server gives no `retryAfter`. */
const JOIN_BUSY = {base: 2_000, cap: 2_000};

/**
 * One room that the user has joined, and the position in its log.
 *
 * `lastSeq` follows what came through the log (`message` and changes), never an ack: others' messages with lower
 * numbers may still be on their way to us when ours is acknowledged. A number that is missing is asked for by
 * another join; until its welcome nothing counts, for all of it comes again.
 */
export class Subscription {
  lastSeq = null; // null until the first welcome, unless the page knows
  epoch = null;
  name = null; // under which the reader is there, by the latest welcome
  joined = false; // on the present link
  refused = false; // the server said no for good; only another `join` asks again
  ref = newRef(); // ref of its join commands
  #hearing = false; // the welcome that follows the latest join has come
  #gapAt = null; // lastSeq at the latest gap
  #startOver = false; // asking from lastSeq brought nothing on
  #username;
  #token;
  #transmit;
  #clock;
  #busy;
  #again = null; // timer of the next join, until the welcome
  #resolve;
  #reject;

  /**
   * @param {string} room
   * @param {{username?: string, since?: number, epoch?: string | null}} place where the page stands in the log
   * @param {{transmit: (command) => void, clock, random, token: () => string | undefined}} tools
   * @param {Subscription} [former] the refused one that this follows: the log is read on from there
   */
  constructor(room, {username, since = null, epoch = null}, {transmit, clock, random, token}, former) {
    this.room = room;
    this.#username = username;
    this.#token = token;
    this.#transmit = transmit;
    this.#clock = clock;
    this.#busy = new Backoff({random, ...JOIN_BUSY});
    const known = former?.lastSeq != null;
    this.lastSeq = known ? former.lastSeq : since;
    this.epoch = known ? former.epoch : epoch;
    this.welcome = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.welcome.catch(() => {}); // the "error" event reports it even if nobody awaits the promise
  }

  /** Join over the open connection, or join again at the current position. */
  ask() {
    this.#hearing = false;
    this.#askIn(JOIN_TIMEOUT);
    this.#transmit(this.#command);
  }

  /** The server deferred the join. `retryAfter` is in milliseconds. */
  askLater(retryAfter) {
    this.#askIn(this.#busy.next(retryAfter));
  }

  /** The connection is lost. */
  lost() {
    this.joined = this.#hearing = false;
    this.#clock.clearTimeout(this.#again);
  }

  /**
   * Take a `welcome` in. Returns "first", "resumed" (what was missed follows) or "reset" (start over).
   *
   * After "resumed" lastSeq stays: the changes up to the welcome's seq have yet to come. Whichever join it answers,
   * the frames behind it go on from there, so it need not be the latest's; and a server whose client reads too slowly
   * sends one that nobody asked for.
   */
  welcomed(frame) {
    this.#clock.clearTimeout(this.#again);
    const how = this.#judged(frame);
    if (how !== "resumed") this.lastSeq = frame.seq;
    this.epoch = frame.epoch;
    this.name = frame.username;
    this.joined = this.#hearing = true;
    this.#startOver = false;
    this.#resolve(frame);
    return how;
  }

  refuse(error) {
    this.refused = true;
    this.#clock.clearTimeout(this.#again);
    this.#reject(error);
  }

  /** The server removed the user. */
  removed(error) {
    this.lost();
    this.refuse(error);
  }

  /**
   * Whether a numbered frame of the room is the next. It counts as seen from then on. On a gap all is requested again,
   * once: what comes before the welcome is dropped.
   */
  takes({seq, follows}) {
    if (!this.#hearing || seq <= this.lastSeq) return false;
    if ((follows ?? seq - 1) > this.lastSeq) {
      this.#missed();
      return false;
    }
    this.lastSeq = seq;
    return true;
  }

  get #command() {
    const command = {type: "join", room: this.room, ref: this.ref};
    if (this.#username !== undefined) command.username = this.#username;
    const token = this.#token();
    if (token !== undefined) command.token = token;
    const known = this.lastSeq !== null && this.epoch !== null && !this.#startOver;
    if (known) Object.assign(command, {since: this.lastSeq, epoch: this.epoch});
    return command;
  }

  /** A gap right after the gap before was asked for: the server can't fill it, and would be asked for ever. */
  #missed() {
    this.#startOver = this.#gapAt === this.lastSeq;
    this.#gapAt = this.lastSeq;
    this.ask();
  }

  #judged({resumed, seq, epoch}) {
    if (this.lastSeq === null) return "first";
    // At the very place where we stand nothing was missed, though who gave no epoch can't be told so.
    const here = seq === this.lastSeq && (this.epoch === null || this.epoch === epoch);
    return resumed || here ? "resumed" : "reset";
  }

  #askIn(delay) {
    this.#clock.clearTimeout(this.#again);
    this.#again = this.#clock.setTimeout(() => this.ask(), delay);
  }
}

/** The rooms that the user has joined: joined again with each new connection. */
export class Subscriptions {
  #subscriptions = new Map(); // room → Membership
  #emit;
  #tools;
  #open = false; // there is a link to ask over

  /** @param {{emit: (type: string, detail: object) => void, tools: {transmit, clock, random, token}}} options */
  constructor({emit, tools}) {
    this.#emit = emit;
    this.#tools = tools;
  }

  get(room) {
    return this.#subscriptions.get(room);
  }

  has(room) {
    return this.#subscriptions.has(room);
  }

  /** The room's epoch, if known. */
  epochOf(room) {
    return this.get(room)?.epoch ?? undefined;
  }

  /** @returns {Promise<object>} the first `welcome` */
  join(room, place) {
    const known = this.get(room);
    if (known && !known.refused) return known.welcome;
    const subscription = new Subscription(room, place, this.#tools, known);
    this.#subscriptions.set(room, subscription);
    if (this.#open) subscription.ask();
    return subscription.welcome;
  }

  /** The connection is open. */
  enter() {
    this.#open = true;
    for (const subscription of this.#subscriptions.values()) if (!subscription.refused) subscription.ask();
  }

  /** The connection is lost. */
  lost() {
    this.#open = false;
    for (const subscription of this.#subscriptions.values()) subscription.lost();
  }

  /** @returns {boolean} whether a `leave` has to be sent */
  leave(room, error) {
    const subscription = this.get(room);
    this.#subscriptions.delete(room);
    subscription.refuse(error);
    return subscription.joined;
  }

  /** The server removed the user: only another `join` asks again. Returns whether they were in. */
  removed({room, ...frame}) {
    const subscription = this.get(room);
    if (!subscription || subscription.refused) return false;
    subscription.removed(ChatError.of(frame));
    return true;
  }

  close(error) {
    for (const room of [...this.#subscriptions.keys()]) this.leave(room, error);
  }

  /** Whether a numbered frame is the next of its room. */
  takes(frame) {
    return this.get(frame.room)?.takes(frame) ?? false;
  }

  /** Whether the error answered a join. */
  errored(frame) {
    const subscription = [...this.#subscriptions.values()].find(({ref}) => ref === frame.ref);
    if (!subscription) return false;
    if (isForLater(frame.code)) {
      subscription.askLater(frame.retryAfter);
    } else {
      subscription.refuse(ChatError.of(frame));
      this.#emit("error", {...frame, room: subscription.room, command: "join"});
    }
    return true;
  }
}
