import {Backoff} from "./backoff.js";
import {Outbox} from "./outbox.js";
import {ChatError, ERROR, isForLater, newRef} from "./protocol.js";
import {Sender} from "./sender.js";

/**
 * Publishes the user's messages and changes: they wait in the outbox, a sender for each room sends them, and the
 * server's reply settles the caller's promise.
 */
export class Publisher {
  #outbox;
  #emit;
  #tools;
  #senders = new Map(); // room → Courier
  #deliveries = new Map(); // ref → {promise, resolve, reject}

  /**
   * @param {object} options
   * @param {object} [options.store] as ChatClient has it
   * @param {import("./person.js").Person} options.person
   * @param {number} [options.limit]
   * @param {(type: string, detail: object) => void} options.emit
   * @param {{transmit: (command) => void, clock, random}} options.tools
   */
  constructor({store, person, limit, emit, tools}) {
    this.#emit = emit;
    this.#tools = tools;
    this.#outbox = new Outbox({
      store,
      person,
      limit,
      clock: tools.clock,
      onArrival: (entries) => this.#arrived(entries),
    });
  }

  get restored() {
    return this.#outbox.restored;
  }

  pending(room) {
    return this.#outbox.of(room).filter(({change}) => !change);
  }

  failed(room) {
    return this.#outbox.failed(room);
  }

  /** Forget a failed message. */
  discard(ref) {
    if (!this.#outbox.waiting(ref)) this.#outbox.remove(ref);
  }

  /** The server has identified the user. Messages of another user are dropped. */
  identified(error) {
    for (const entry of this.#outbox.identified()) this.#refused(entry, error);
  }

  /** The sign-in has ended: drop all entries. */
  forget() {
    this.#outbox.clear();
  }

  /** The user wants to be in the room. */
  open(room) {
    if (!this.#senders.has(room)) this.#senders.set(room, new Sender({room, outbox: this.#outbox, ...this.#tools}));
  }

  /** The server accepts commands for the room now. */
  start(room, epoch) {
    for (const entry of this.#outbox.of(room)) {
      const gone = entry.change && (entry.epoch ?? epoch) !== epoch;
      if (gone) this.#giveUp(entry, new ChatError(ERROR.NOT_FOUND, "The message is gone."));
    }
    this.#senders.get(room)?.start(epoch);
  }

  /** The user was removed, and may come back: waiting entries stay. */
  pause(room) {
    this.#senders.get(room)?.stop();
  }

  /** The connection is lost. */
  stop() {
    for (const sender of this.#senders.values()) sender.stop();
  }

  /** The user leaves the room: nothing will be sent there any more. */
  leave(room, error) {
    this.#senders.get(room)?.stop();
    this.#senders.delete(room);
    for (const entry of this.#outbox.of(room)) this.#giveUp(entry, error);
    for (const {ref} of this.#outbox.failed(room)) this.#outbox.remove(ref);
  }

  /** Messages stay in the outbox: the next join sends them. */
  close(error) {
    this.stop();
    this.#senders.clear();
    this.#outbox.dropChanges();
    for (const delivery of this.#deliveries.values()) delivery.reject(error);
    this.#deliveries.clear();
  }

  /**
   * Publish an entry, unless one with its ref is in flight.
   * @param {ChatError | null} objection why it can't be sent at all
   * @returns {Promise<object>} the ack's fields
   */
  put(entry, objection) {
    const underWay = this.#deliveries.get(entry.ref);
    if (underWay) return underWay.promise;
    const {promise} = this.#newDelivery(entry.ref);
    if (!this.#outbox.waiting(entry.ref)) {
      const reason = objection ?? this.#full();
      if (reason) this.#refused(entry, reason);
      else this.#outbox.add(entry);
    }
    this.#senders.get(entry.room)?.wake();
    return promise;
  }

  acked({ref, id, seq, timestamp}) {
    const entry = this.#outbox.remove(ref);
    if (!entry) return;
    const delivery = this.#take(ref);
    const {room, content, replyTo, change} = entry;
    if (!change) this.#emit("sent", {ref, room, content, replyTo, id, seq, timestamp});
    delivery?.resolve(change ? {id, seq} : {id, seq, timestamp});
    this.#senders.get(room)?.answered(ref);
  }

  /** Whether the error answered a command of the outbox. */
  errored(frame) {
    const entry = this.#outbox.waiting(frame.ref);
    if (!entry) return false;
    if (isForLater(frame.code)) this.#later(entry, frame);
    else this.#refusedByServer(entry, frame);
    return true;
  }

  #later({ref, room, change}, frame) {
    const retryIn = this.#senders.get(room)?.later(ref, frame) ?? null;
    if (retryIn !== null && !change) this.#emit("later", {ref, room, retryIn, error: ChatError.of(frame)});
  }

  #refusedByServer(entry, frame) {
    const error = ChatError.of(frame);
    if (entry.change) {
      this.#emit("error", {...frame, room: entry.room, command: entry.change.type});
      this.#giveUp(entry, error);
    } else {
      this.#outbox.fail(entry.ref, error);
      this.#refused(entry, error);
    }
  }

  #giveUp(entry, error) {
    this.#outbox.remove(entry.ref);
    this.#refused(entry, error);
  }

  #refused({ref, room, content, replyTo, change}, error) {
    // Taken first, so that a listener can send it again with a new promise.
    const delivery = this.#take(ref);
    if (!change) this.#emit("refused", {ref, room, content, replyTo, error});
    delivery?.reject(error);
    this.#senders.get(room)?.answered(ref);
  }

  #full() {
    return this.#outbox.full ? new ChatError("outbox_full", "Too many messages wait for the connection.") : null;
  }

  #arrived(entries) {
    for (const entry of entries) if (!entry.failed) this.#emit("pending", entry);
    for (const sender of this.#senders.values()) sender.wake();
  }

  #newDelivery(ref) {
    const delivery = {};
    delivery.promise = new Promise((resolve, reject) => Object.assign(delivery, {resolve, reject}));
    delivery.promise.catch(() => {}); // the event reports it even if nobody awaits the promise
    this.#deliveries.set(ref, delivery);
    return delivery;
  }

  #take(ref) {
    const delivery = this.#deliveries.get(ref);
    this.#deliveries.delete(ref);
    return delivery;
  }
}

/** Milliseconds until an unanswered publication is sent again over a live connection. */
const ANSWER_TIMEOUT = 10_000;
/** Publications of one topic that may wait for an ack. */
const WAITING = 100;

/**
 * Publishes the user's events in one topic. They wait in memory. One is in flight at a time, so a deferred one is not
 * overtaken; each attempt has the same ref, so the server publishes it once.
 */
export class EventPublisher {
  #topic;
  #transmit;
  #clock;
  #busy;
  #running = false;
  #waiting = []; // publications without an ack: {command, resolve, reject}
  #timer = null; // timer of the next attempt of the first one

  /**
   * @param {string} topic
   * @param {{transmit: (command) => void, clock, random}} tools
   */
  constructor(topic, {transmit, clock, random}) {
    this.#topic = topic;
    this.#transmit = transmit;
    this.#clock = clock;
    this.#busy = new Backoff({random});
  }

  /**
   * @param {object} what {event, data, key?} or {gone, key}
   * @param {ChatError | null} objection why it can't be published at all
   * @returns {Promise<{id?: number, seq?: number}>} the ack's fields
   */
  put(what, objection) {
    const command = {type: "publish", topic: this.#topic, ref: newRef(), ...what};
    const full = this.#waiting.length >= WAITING && new ChatError("outbox_full", "Too many events wait.");
    const promise = new Promise((resolve, reject) => {
      if (objection || full) reject(objection || full);
      else this.#waiting.push({command, resolve, reject});
    });
    promise.catch(() => {});
    if (this.#waiting.length === 1 && this.#timer === null) this.#send();
    return promise;
  }

  /** The server accepts publications now. */
  start() {
    this.#running = true;
    this.#send();
  }

  /** The subscription is lost: the publication in flight will be sent again. */
  stop() {
    this.#running = false;
    this.#stopWaiting();
  }

  acked({ref, id, seq}) {
    this.#answered(ref, ({resolve}) => resolve({id, seq}));
  }

  /** Whether a publication with this ref waits. */
  has(ref) {
    return this.#waiting.some(({command}) => command.ref === ref);
  }

  /** Whether the error answered a publication. */
  errored(frame) {
    if (!this.has(frame.ref)) return false;
    if (isForLater(frame.code)) this.#sendIn(this.#busy.next(frame.retryAfter));
    else this.#answered(frame.ref, ({reject}) => reject(ChatError.of(frame)));
    return true;
  }

  rejectAll(error) {
    this.#stopWaiting();
    for (const {reject} of this.#waiting.splice(0)) reject(error);
  }

  #send() {
    this.#stopWaiting();
    if (!this.#running || !this.#waiting.length) return;
    this.#sendIn(ANSWER_TIMEOUT);
    this.#transmit(this.#waiting[0].command);
  }

  #sendIn(delay) {
    this.#stopWaiting();
    this.#timer = this.#clock.setTimeout(() => this.#send(), delay);
  }

  #stopWaiting() {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  #answered(ref, settle) {
    const index = this.#waiting.findIndex(({command}) => command.ref === ref);
    if (index < 0) return;
    this.#busy.reset();
    settle(...this.#waiting.splice(index, 1));
    this.#send();
  }
}
