/**
 * A chat client: one WebSocket, several rooms, messages that arrive once. No dependencies and no DOM: it runs
 * in a page, in a worker and in Node.
 *
 *     const client = new ChatClient("wss://chat.example/ws", {storage: sessionStorage});
 *     client.addEventListener("message", ({detail}) => console.log(detail.username, detail.content));
 *     client.connect();
 *     await client.join("lobby", {username: "Ann"});
 *     const {id} = await client.send("lobby", "hello");   // settles when the server has kept it
 *     const {messages, more} = await client.history("lobby", {before: id, limit: 20});
 *
 * It comes back by itself, with full-jitter back-off, and continues each room where it was left. What was not
 * acknowledged is sent again, in order and with the same ref, which the server takes once.
 *
 * Events, each a CustomEvent whose `detail` is:
 *
 * - `state`: {state, retryIn?, code?, reason?}. "connecting"; "open"; "waiting" and "offline" (next try in
 *   `retryIn` ms); "closed" (by `close()`, or for good by the server's close code; `connect()` starts anew)
 * - `welcome`, `join`, `leave`, `userList`, `message`, `typing`, `history`: the server's frame (protocol.md).
 *   A later kind of frame is passed on under its own `type`. Numbered frames come in order and once.
 * - `reset`: {room}. What was missed can't be had: forget the room's messages and start from `history`
 * - `sent`: {ref, room, content, id, seq, timestamp}. A message was acknowledged
 * - `refused`: {ref, room, content, error}. A message will not be sent; `error` is a ChatError
 * - `error`: {code, message, field?, ref?, retryAfter?, room?, command?}. Another command was refused;
 *   `command` is its type. A refused join is not tried again until `join` is called again.
 */

import {Connection} from "./connection.js";
import {Courier} from "./courier.js";
import {ChatError} from "./errors.js";
import {Membership} from "./membership.js";
import {newRef, Outbox} from "./outbox.js";
import {characters, ERROR, LIMIT, wellFormed} from "./protocol.js";
import {Queries} from "./queries.js";

/** Milliseconds. A join is asked for again when it has no answer, and sooner when the server was busy. */
const TYPING_EVERY = 2_000;
const JOIN_TIMEOUT = 10_000;
const JOIN_BUSY = 2_000;

/** Names of events that the client makes itself: no frame may pass for one of them. */
const OWN_EVENTS = new Set(["state", "reset", "sent", "refused"]);

const systemClock = {
  now: () => performance.now(), // monotonic: a corrected wall clock must not look like silence
  setTimeout: (...args) => globalThis.setTimeout(...args),
  clearTimeout: (id) => globalThis.clearTimeout(id),
};

export class ChatClient extends EventTarget {
  #clock;
  #random;
  #connection;
  #outbox;
  #queries;
  #memberships = new Map(); // room → Membership
  #couriers = new Map(); // room → Courier
  #deliveries = new Map(); // ref of a message → {promise, resolve, reject}
  #typedAt = new Map(); // room → clock time

  /**
   * @param {string} url ws: or wss:
   * @param {object} [options] all optional
   * @param {typeof WebSocket} [options.WebSocket]
   * @param {{now, setTimeout, clearTimeout}} [options.clock] milliseconds, monotonic
   * @param {() => number} [options.random] like Math.random
   * @param {{window?: Window, document?: Document}} [options.environment] what tells about network and tab
   * @param {Storage} [options.storage] keeps unacknowledged messages over a reload
   * @param {string} [options.storageKey] a tab that may speak as several people needs one for each
   * @param {number} [options.outboxLimit] unacknowledged messages that are kept, 100 by default
   */
  constructor(url, options = {}) {
    super();
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#connection = this.#newConnection(url, options);
    this.#outbox = new Outbox({
      storage: options.storage,
      key: options.storageKey,
      limit: options.outboxLimit,
    });
    this.#queries = new Queries({
      transmit: this.#transmit,
      clock: this.#clock,
      random: this.#random,
    });
  }

  /** "idle" before the first `connect`, then as in the `state` event. */
  get state() {
    return this.#connection.state;
  }

  /** Connect; or, when a next try is due later, try now. */
  connect() {
    this.#connection.connect();
  }

  /** Leave everything and stop. Messages without an answer stay in the outbox: who joins again sends them. */
  close() {
    this.#connection.close();
    const error = new ChatError("closed", "The chat was closed.");
    for (const membership of this.#memberships.values()) membership.refuse(error);
    for (const delivery of this.#deliveries.values()) delivery.reject(error);
    for (const state of [this.#memberships, this.#couriers, this.#deliveries, this.#typedAt]) state.clear();
  }

  /**
   * Be in a room, now and after each reconnect. A page that the server knows by its session gives no username.
   * @returns {Promise<object>} the first `welcome`; rejected when the server refuses
   */
  join(room, {username} = {}) {
    const known = this.#memberships.get(room);
    if (known && !known.refused) return known.welcome;
    const membership = new Membership(room, username, newRef(), known);
    this.#memberships.set(room, membership);
    if (!this.#couriers.has(room)) this.#couriers.set(room, this.#newCourier(room));
    this.#ask(membership);
    return membership.welcome;
  }

  /** Leave a room. What was not acknowledged there is given up. */
  leave(room) {
    const membership = this.#memberships.get(room);
    if (!membership) return;
    if (membership.joined) this.#transmit({type: "leave", room, ref: newRef()});
    this.#couriers.get(room).stop();
    this.#clock.clearTimeout(membership.again);
    for (const state of [this.#memberships, this.#couriers, this.#typedAt]) state.delete(room);
    const error = new ChatError("left", "The room was left.");
    membership.refuse(error);
    for (const {ref} of this.#outbox.of(room)) this.#refuse(ref, error);
  }

  /**
   * Say something. It is kept until the server has answered, through any number of lost connections.
   * @param {string} room one that was joined
   * @param {string} content
   * @param {{ref?: string}} [options] the ref of an earlier try, to be sure that there is one message
   * @returns {Promise<{id: number, seq: number, timestamp: number}>} rejected with a ChatError when the
   *   message will not be sent
   */
  send(room, content, {ref = newRef()} = {}) {
    const underWay = this.#deliveries.get(ref);
    if (underWay) return underWay.promise;
    const delivery = this.#newDelivery(ref);
    const text = wellFormed(content);
    const objection = this.#objection(room, text);
    if (objection) {
      this.#refuse(ref, objection, {ref, room, content: text});
    } else {
      this.#outbox.add({ref, room, content: text, at: Date.now()});
      this.#typedAt.delete(room); // a message ends the typing for those who see it; the next key starts it anew
      this.#couriers.get(room).wake();
    }
    return delivery.promise;
  }

  /** The messages of a room that were not acknowledged: [{ref, room, content, at, tries}], oldest first. */
  pending(room) {
    return this.#outbox.of(room);
  }

  /** Say that the user is typing. May be called at each key: one in two seconds is sent. */
  typing(room) {
    const now = this.#clock.now();
    if (!this.#memberships.get(room)?.joined) return;
    if (now - (this.#typedAt.get(room) ?? -Infinity) < TYPING_EVERY) return;
    this.#typedAt.set(room, now);
    this.#transmit({type: "typing", room});
  }

  /**
   * Ask for older messages.
   * @param {string} room
   * @param {{before?: number, limit?: number}} [options] before: an id; without it, the latest
   * @returns {Promise<{messages: object[], more: boolean}>} oldest first; rejected with a ChatError
   *   "disconnected" when there is no connection, or it is lost before the answer
   */
  history(room, {before, limit = 50} = {}) {
    if (this.state !== "open") {
      const refused = Promise.reject(new ChatError("disconnected", "There is no connection."));
      refused.catch(() => {});
      return refused;
    }
    const command = {type: "history", room, limit: Math.min(limit, LIMIT.HISTORY)};
    if (before !== undefined) command.before = before;
    return this.#queries.ask(command);
  }

  // --- The connection ---

  #newConnection(url, options) {
    const {WebSocket = globalThis.WebSocket, environment = globalThis} = options;
    const {window, document} = environment;
    return new Connection(
      url,
      {WebSocket, clock: this.#clock, random: this.#random, environment: {window, document}},
      {
        state: (detail) => this.#emit("state", detail),
        open: () => this.#enter(),
        frame: (frame) => this.#received(frame),
        loss: () => this.#lost(),
      },
    );
  }

  #enter() {
    for (const membership of this.#memberships.values()) {
      if (!membership.refused) this.#ask(membership);
    }
  }

  #ask(membership) {
    if (this.state !== "open") return;
    this.#transmit(membership.command);
    this.#askIn(JOIN_TIMEOUT, membership);
  }

  #askIn(delay, membership) {
    this.#clock.clearTimeout(membership.again);
    membership.again = this.#clock.setTimeout(() => this.#ask(membership), delay);
  }

  #lost() {
    for (const membership of this.#memberships.values()) {
      membership.joined = false;
      this.#clock.clearTimeout(membership.again);
    }
    for (const courier of this.#couriers.values()) courier.stop();
    this.#queries.abandon(new ChatError("disconnected", "The connection was lost."));
  }

  #transmit = (command) => this.#connection.send(command);

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, {detail}));
  }

  // --- What comes ---

  #received(frame) {
    const handler = this.#handlers.get(frame.type);
    if (handler) handler(frame);
    else if (typeof frame.type === "string" && !OWN_EVENTS.has(frame.type)) this.#event(frame);
  }

  #handlers = new Map([
    ["welcome", (frame) => this.#welcomed(frame)],
    ["ack", (frame) => this.#acked(frame)],
    ["error", (frame) => this.#errored(frame)],
    ["history", (frame) => this.#historyCame(frame)],
    ["reconnect", ({after}) => Number.isFinite(after) && this.#connection.reconnectIn(after)],
    ["pong", () => {}], // the link has seen it
  ]);

  #event(frame) {
    if (Number.isSafeInteger(frame.seq) && !this.#memberships.get(frame.room)?.sees(frame.seq)) return;
    this.#emit(frame.type, frame);
  }

  #welcomed(frame) {
    const membership = this.#memberships.get(frame.room);
    if (!membership) return; // left before the answer came
    this.#clock.clearTimeout(membership.again);
    const how = membership.welcomed(frame);
    this.#emit("welcome", frame);
    if (how === "reset") this.#emit("reset", {room: frame.room});
    this.#couriers.get(frame.room)?.start();
  }

  #acked({ref, id, seq, timestamp}) {
    const entry = this.#outbox.remove(ref);
    if (!entry) return;
    const answer = {id, seq, timestamp};
    this.#emit("sent", {ref, room: entry.room, content: entry.content, ...answer});
    this.#take(ref)?.resolve(answer);
    this.#couriers.get(entry.room)?.answered(ref);
  }

  #historyCame(frame) {
    this.#emit("history", frame);
    this.#queries.answer(frame.ref, frame);
  }

  // --- What is refused ---

  #errored(frame) {
    const {ref} = frame;
    const membership = [...this.#memberships.values()].find((candidate) => candidate.ref === ref);
    if (this.#outbox.get(ref)) this.#messageRefused(frame);
    else if (membership) this.#joinRefused(membership, frame);
    else if (this.#queries.has(ref)) this.#queryRefused(frame);
    else this.#emit("error", frame);
  }

  #messageRefused(frame) {
    const {room} = this.#outbox.get(frame.ref);
    if (frame.code === ERROR.BUSY) this.#couriers.get(room)?.busy(frame.ref, frame.retryAfter);
    else this.#refuse(frame.ref, ChatError.of(frame));
  }

  #joinRefused(membership, frame) {
    if (frame.code === ERROR.BUSY) {
      this.#askIn(frame.retryAfter ?? this.#random() * JOIN_BUSY, membership);
      return;
    }
    this.#clock.clearTimeout(membership.again);
    membership.refuse(ChatError.of(frame));
    this.#emit("error", {...frame, room: membership.room, command: "join"});
  }

  #queryRefused(frame) {
    const {room, type} = this.#queries.command(frame.ref);
    if (frame.code === ERROR.BUSY) {
      this.#queries.busy(frame.ref, frame.retryAfter);
      return;
    }
    this.#queries.refuse(frame.ref, ChatError.of(frame));
    this.#emit("error", {...frame, room, command: type});
  }

  // --- Messages that wait for their answer ---

  #newCourier(room) {
    return new Courier({
      room,
      outbox: this.#outbox,
      transmit: this.#transmit,
      clock: this.#clock,
      random: this.#random,
    });
  }

  #newDelivery(ref) {
    const delivery = {};
    delivery.promise = new Promise((resolve, reject) => Object.assign(delivery, {resolve, reject}));
    delivery.promise.catch(() => {}); // who does not look at the promise still gets the "refused" event
    this.#deliveries.set(ref, delivery);
    return delivery;
  }

  /** Why a message can't even be tried, or null. */
  #objection(room, content) {
    if (!this.#memberships.has(room)) {
      return new ChatError(this.state === "closed" ? "closed" : ERROR.NOT_JOINED, "Join the room first.");
    }
    if (!content.trim()) return new ChatError(ERROR.BAD_FIELD, "The message is empty.", {field: "content"});
    if (characters(content) > LIMIT.CONTENT) {
      return new ChatError(ERROR.BAD_FIELD, `A message has at most ${LIMIT.CONTENT} characters.`, {field: "content"});
    }
    if (this.#outbox.full) return new ChatError("outbox_full", "Too many messages wait for the connection.");
    return null;
  }

  #refuse(ref, error, entry = this.#outbox.remove(ref)) {
    this.#emit("refused", {ref, room: entry.room, content: entry.content, error});
    this.#take(ref)?.reject(error);
    this.#couriers.get(entry.room)?.answered(ref);
  }

  #take(ref) {
    const delivery = this.#deliveries.get(ref);
    this.#deliveries.delete(ref);
    return delivery;
  }
}

export {ChatError, newRef};
