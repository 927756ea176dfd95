/**
 * Topics: named streams and maps that the site publishes to (docs/topics.md).
 *
 *     const board = client.topic("board:cpu");
 *     board.on("reading", ({key, data}) => console.log(key, data.value));
 *     board.state;                                   // a Map: each key's data
 *     await board.publish("reading", {value: 3}, {key: "core0"});
 *
 * A topic is subscribed to on each connection, from the position that it has. Changes come in order, once; a missing
 * one is asked for. A publication waits for its ack, and is sent again with the same ref after a lost connection.
 */

import {Backoff} from "./backoff.js";
import {ChatError, ERROR, isForLater, newRef} from "./protocol.js";

/** Entries of a stream that are kept. */
const ENTRIES = 1_000;
/** Milliseconds until an unanswered command is sent again over a live connection. */
const ANSWER_TIMEOUT = 10_000;
/** Publications that may wait for an ack. */
const WAITING = 100;

/** One topic. Two callers of `client.topic` with the same name share it; each calls `close`. */
export class Topic {
  /** Each key's data, for topics with keys. */
  state = new Map();
  /** The entries without a key, oldest first: {id, event, data, by?, username?, timestamp}. */
  entries = [];
  /** The people who are present, by their key: {by, username, state?}. */
  people = new Map();
  /** The user's permissions, beside reading: "publish", "signal", "present". */
  may = [];
  /** "log", "latest" or "memory"; null before the first `subscribed`. */
  keep = null;
  /** The user's own key, as in `by`. */
  you = "";
  holders = 0;
  #name;
  #rewind;
  #tools;
  #close;
  #ref = newRef();
  #position = null;
  #epoch = null;
  #live = false; // subscribed on the present connection, and nothing is missing
  #refused = null;
  #startOver = false;
  #gapAt = null;
  #again = null;
  #busy;
  #listeners = new Map(); // event → Set of functions
  #subscribers = new Set();
  #snapshot = null;
  #waiting = []; // publications without an ack: {command, resolve, reject}
  #timer = null;
  #presence = null;

  /**
   * @param {string} name
   * @param {{rewind?: number, since?: number, epoch?: string}} options
   * @param {{transmit, clock, random, token, isOpen: () => boolean, ask: (command) => Promise<object>}} tools
   * @param {() => void} close called when nobody holds it any more
   */
  constructor(name, {rewind = 0, since = null, epoch = null}, tools, close) {
    this.#name = name;
    this.#position = since;
    this.#epoch = epoch;
    this.#rewind = rewind;
    this.#tools = tools;
    this.#close = close;
    this.#busy = new Backoff({random: tools.random, base: 2_000, cap: 30_000});
  }

  get name() {
    return this.#name;
  }

  /** Has it everything that the server has, as far as is known? */
  get isLive() {
    return this.#live;
  }

  /** A ChatError if the server refused the subscription, or ended it. */
  get error() {
    return this.#refused;
  }

  /**
   * Call `listener` for each event with this name: {event, data, key?, id?, by?, username?, timestamp?}. The names
   * "change" (anything is another now), "signal:<event>", "gone" ({key}), "reset" and "removed" ({error}) are the topic's own.
   * @returns {() => void} ends it
   */
  on(event, listener) {
    if (!this.#listeners.has(event)) this.#listeners.set(event, new Set());
    this.#listeners.get(event).add(listener);
    return () => this.#listeners.get(event).delete(listener);
  }

  // --- A headless store: React's useSyncExternalStore, Vue and Svelte take these two as they are ---

  subscribe = (listener) => {
    this.#subscribers.add(listener);
    return () => this.#subscribers.delete(listener);
  };

  /** {state, entries, people, may, live, error}: the same object until something changes. */
  getSnapshot = () =>
    (this.#snapshot ??= Object.freeze({
      state: new Map(this.state),
      entries: [...this.entries],
      people: new Map(this.people),
      may: this.may,
      live: this.#live,
      error: this.#refused,
    }));

  // --- What the user does ---

  /**
   * Publish an event. It waits, through reconnects, until the server has answered.
   * @param {{key?: string, gone?: boolean}} [options] gone: remove the key; event and data may be null then
   * @returns {Promise<{id?: number, seq?: number}>} rejected with a ChatError if it will not be published
   */
  publish(event, data = {}, {key, gone = false} = {}) {
    const command = {type: "publish", topic: this.#name, ref: newRef()};
    if (gone) Object.assign(command, {gone});
    else Object.assign(command, {event, data});
    if (key !== undefined) command.key = key;
    const promise = new Promise((resolve, reject) => {
      const full = this.#waiting.length >= WAITING;
      const objection = this.#refused ?? (full ? new ChatError("outbox_full", "Too many events wait.") : null);
      if (objection) reject(objection);
      else this.#waiting.push({command, resolve, reject});
    });
    promise.catch(() => {});
    if (this.#waiting.length === 1) this.#send();
    return promise;
  }

  /** Send an event to those who are there now. It is lost without a connection. */
  signal(event, data = {}, key) {
    if (this.#live) this.#tools.transmit({type: "signal", topic: this.#name, event, data, ...(key && {key})});
  }

  /** Set this socket's state among the people, now and after each reconnect. */
  present(state) {
    this.#presence = state;
    if (this.#live) this.#tools.transmit({type: "present", topic: this.#name, state});
  }

  /** Fetch older or newer entries. @returns {Promise<{entries: object[], more: boolean}>} oldest first */
  history({before, after, limit = 50} = {}) {
    return this.#tools.ask({type: "entries", topic: this.#name, before, after, limit});
  }

  /** End this caller's use. The subscription ends with the last one. */
  close() {
    this.holders -= 1;
    if (this.holders > 0) return;
    this.#stop();
    const error = new ChatError("left", "The topic was closed.");
    for (const {reject} of this.#waiting.splice(0)) reject(error);
    if (this.#tools.isOpen()) this.#tools.transmit({type: "unsubscribe", topic: this.#name, ref: newRef()});
    this.#close();
  }

  // --- The connection ---

  /** The connection is open, or something is missing: subscribe from the present position. */
  ask() {
    if (this.#refused) return;
    this.#live = false;
    const command = {type: "subscribe", topic: this.#name, ref: this.#ref};
    if (this.#rewind) command.rewind = this.#rewind;
    const token = this.#tools.token();
    if (token !== undefined) command.token = token;
    if (this.#position !== null && !this.#startOver) Object.assign(command, {since: this.#position, epoch: this.#epoch});
    this.#askAgainIn(ANSWER_TIMEOUT);
    this.#tools.transmit(command);
  }

  lost() {
    this.#stop();
    this.people.clear();
    this.#changed();
  }

  #stop() {
    this.#live = false;
    this.#tools.clock.clearTimeout(this.#again);
    this.#tools.clock.clearTimeout(this.#timer);
  }

  #askAgainIn(delay) {
    this.#tools.clock.clearTimeout(this.#again);
    this.#again = this.#tools.clock.setTimeout(() => this.ask(), delay);
  }

  // --- Incoming frames ---

  received(frame) {
    switch (frame.type) {
      case "subscribed":
        return this.#subscribed(frame);
      case "publication":
        return this.#takes(frame) && this.#publication(frame);
      case "publications":
        return this.#takes(frame) && this.#publications(frame);
      case "position":
        return this.#takes(frame);
      case "signal":
        return this.#tell(`signal:${frame.event}`, frame);
      case "present":
        return this.#present(frame);
      case "removed":
        return this.#removed(ChatError.of(frame));
      case "ack":
        return this.#answered(frame.ref, ({resolve}) => resolve({id: frame.id, seq: frame.seq}));
    }
  }

  /** Whether the error answered a command of this topic. */
  errored(frame) {
    if (frame.ref === this.#ref) {
      if (isForLater(frame.code)) this.#askAgainIn(this.#busy.next(frame.retryAfter));
      else this.#removed(ChatError.of(frame));
      return true;
    }
    if (!this.#waiting.some(({command}) => command.ref === frame.ref)) return false;
    if (isForLater(frame.code)) this.#sendIn(this.#busy.next(frame.retryAfter));
    else if (frame.code === ERROR.NOT_SUBSCRIBED) this.#tools.clock.clearTimeout(this.#timer);
    else this.#answered(frame.ref, ({reject}) => reject(ChatError.of(frame)));
    return true;
  }

  #subscribed(frame) {
    this.#tools.clock.clearTimeout(this.#again);
    this.#busy.reset();
    const again = this.#position !== null;
    if (!frame.resumed) {
      this.state.clear();
      this.entries.length = 0;
      this.#position = frame.seq;
    }
    Object.assign(this, {may: frame.may ?? [], keep: frame.keep, you: frame.you ?? ""});
    this.#epoch = frame.epoch;
    this.#live = true;
    this.#startOver = false;
    if (again && !frame.resumed) this.#tell("reset", {});
    if (this.#presence !== null) this.present(this.#presence);
    this.#send();
    this.#changed();
  }

  /** Whether a numbered frame is the next. A gap is asked for once from the position, and then from the beginning. */
  #takes({seq, follows}) {
    if (!this.#live || seq <= this.#position) return false;
    if ((follows ?? seq - 1) > this.#position) {
      this.#startOver = this.#gapAt === this.#position;
      this.#gapAt = this.#position;
      this.ask();
      return false;
    }
    this.#position = seq;
    return true;
  }

  #publication({topic, type, seq, follows, patch, ...entry}) {
    if (entry.gone) {
      this.#remove(entry.key);
    } else if (entry.key !== undefined) {
      const data = patch === undefined ? entry.data : merged(this.state.get(entry.key), patch);
      this.#put({...entry, data});
    } else {
      this.#add(entry);
    }
    this.#changed();
  }

  #publications({entries}) {
    for (const [event, key, data, id, timestamp] of entries) {
      if (event === null) this.#remove(key);
      else if (key === null) this.#add({id, event, data, timestamp});
      else this.#put({event, key, data});
    }
    this.#changed();
  }

  #put(entry) {
    this.state.set(entry.key, entry.data);
    this.#tell(entry.event, entry);
  }

  #remove(key) {
    this.state.delete(key);
    this.#tell("gone", {key});
  }

  #add(entry) {
    this.entries.push(entry);
    if (this.entries.length > ENTRIES) this.entries.splice(0, this.entries.length - ENTRIES);
    this.#tell(entry.event, entry);
  }

  #present({came = [], went = [], whole}) {
    if (whole) this.people.clear();
    for (const person of came) this.people.set(person.by, person);
    for (const key of went) this.people.delete(key);
    this.#changed();
  }

  #removed(error) {
    this.#refused = error;
    this.#stop();
    this.state.clear();
    this.entries.length = 0;
    this.people.clear();
    for (const {reject} of this.#waiting.splice(0)) reject(error);
    this.#tell("removed", {error});
    this.#changed();
  }

  #changed() {
    this.#snapshot = null;
    this.#tell("change", this);
    for (const listener of [...this.#subscribers]) listener();
  }

  #tell(event, detail) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) listener(detail);
  }

  // --- Publications: one is in flight at a time, so a deferred one is not overtaken ---

  #send() {
    if (!this.#live || !this.#waiting.length) return;
    this.#sendIn(ANSWER_TIMEOUT);
    this.#tools.transmit(this.#waiting[0].command);
  }

  #sendIn(delay) {
    this.#tools.clock.clearTimeout(this.#timer);
    this.#timer = this.#tools.clock.setTimeout(() => this.#send(), delay);
  }

  #answered(ref, settle) {
    const index = this.#waiting.findIndex(({command}) => command.ref === ref);
    if (index < 0) return;
    this.#tools.clock.clearTimeout(this.#timer);
    settle(...this.#waiting.splice(index, 1));
    this.#send();
  }
}

/** The topics of a client: subscribed to again on each connection. */
export class Topics {
  #topics = new Map();
  #tools;
  #open = false;

  /** @param {{transmit, clock, random, token, ask: (command) => Promise<object>}} tools */
  constructor(tools) {
    this.#tools = {...tools, isOpen: () => this.#open};
  }

  /** @returns {Topic} */
  get(name, options = {}) {
    let topic = this.#topics.get(name);
    if (!topic || topic.error) {
      const ended = () => this.#topics.get(name) === topic && this.#topics.delete(name);
      topic = new Topic(name, options, this.#tools, ended);
      this.#topics.set(name, topic);
      if (this.#open) topic.ask();
    }
    topic.holders += 1;
    return topic;
  }

  enter() {
    this.#open = true;
    for (const topic of this.#topics.values()) topic.ask();
  }

  lost() {
    this.#open = false;
    for (const topic of this.#topics.values()) topic.lost();
  }

  received(frame) {
    this.#topics.get(frame.topic)?.received(frame);
  }

  errored(frame) {
    return [...this.#topics.values()].some((topic) => topic.errored(frame));
  }
}

/** RFC 7396, section 2. */
export function merged(value, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
  const result = isObject ? {...value} : {};
  for (const [name, inner] of Object.entries(patch)) {
    if (inner === null) delete result[name];
    else Object.defineProperty(result, name, {value: merged(own(result, name), inner), enumerable: true, writable: true, configurable: true});
  }
  return result;
}

function own(object, name) {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}
