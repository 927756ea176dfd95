/**
 * Topics: named streams and maps that the site publishes to (docs/topics.md).
 *
 *     const board = client.topic("board:cpu");
 *     board.on("reading", ({key, data}) => console.log(key, data.value));
 *     board.state;                                   // a Map: each key's data
 *     await board.publish("reading", {value: 3}, {key: "core0"});
 *
 * The client subscribes on each connection, from the position that it has. Changes come in order, once; a missing one is
 * requested. A publication waits for its ack, and is sent again with the same ref after a lost connection.
 */

import {Backoff} from "./backoff.js";
import {Snapshots} from "./headless.js";
import {ChatError, ERROR, isForLater, LIMIT, newRef} from "./protocol.js";
import {EventPublisher} from "./publisher.js";
import {TopicState} from "./topic-state.js";

/** Milliseconds until an unanswered `subscribe` is sent again over a live connection. */
const ANSWER_TIMEOUT = 10_000;
/** Milliseconds before a retry, if a busy server gives no `retryAfter`. */
const BUSY = {base: 2_000, cap: 30_000};

/** One topic. Two callers of `client.topic` with the same name share it; each calls `close` once. */
export class Topic {
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
  #onClose;
  #ref = newRef(); // ref of its subscribe commands
  #position;
  #epoch;
  #live = false; // subscribed on the present connection, and nothing is missing
  #ended = null; // a ChatError: refused, removed or closed
  #gapAt = null; // the position at the latest gap
  #startOver = false; // asking from the position brought nothing on
  #again = null; // timer of the next subscribe, until `subscribed`
  #busy;
  #events = new EventTarget();
  #copy = new TopicState((event, detail) => this.#tell(event, detail));
  #snapshots;
  #publisher;
  #presence = null; // the state to show to the others

  /**
   * @param {string} name
   * @param {{rewind?: number, since?: number, epoch?: string}} options
   * @param {{transmit, clock, random, token, isOpen: () => boolean, ask: (command, objection) => Promise<object>}} tools
   * @param {() => void} onClose called when its last holder has closed it
   */
  constructor(name, {rewind = 0, since = null, epoch = null}, tools, onClose) {
    this.#name = name;
    this.#position = since;
    this.#epoch = epoch;
    this.#rewind = rewind;
    this.#tools = tools;
    this.#onClose = onClose;
    this.#busy = new Backoff({random: tools.random, ...BUSY});
    this.#publisher = new EventPublisher(name, tools);
    this.#snapshots = new Snapshots(() => this.#taken(), tools.clock);
  }

  get name() {
    return this.#name;
  }

  /** Each key's data, for topics with keys: a Map. */
  get state() {
    return this.#copy.state;
  }

  /** The entries without a key, oldest first, the latest 1,000: {id, event, data, by?, username?, timestamp}. */
  get entries() {
    return this.#copy.entries;
  }

  /** The people who are present: a Map from their key to {by, username, state?}. */
  get people() {
    return this.#copy.people;
  }

  /** False without a connection, before the first `subscribed`, and while something is missing. */
  get isLive() {
    return this.#live;
  }

  /** The ChatError with which the subscription was refused or ended, or null. */
  get error() {
    return this.#ended;
  }

  /**
   * Call `listener` for each event with this name: {event, data, key?, id?, by?, username?, timestamp?}. The topic's own
   * names are "change", "gone" ({key}), "signal:<event>" ({event, data, key?, by?, username?, timestamp}), "reset" (what
   * was here is void) and "removed" ({error}). A project's event with such a name comes too, with its `event`.
   * @returns {() => void} ends it
   */
  on(event, listener) {
    const handler = ({detail}) => listener(detail);
    this.#events.addEventListener(event, handler);
    return () => this.#events.removeEventListener(event, handler);
  }

  // --- A headless store (headless.js) ---

  /** Call `listener` after changes, at most 60 times a second. @returns {() => void} ends it */
  subscribe = (listener) => this.#snapshots.subscribe(listener);

  /** {state, entries, people, may, live, error}, immutable: the same object until something changes. */
  getSnapshot = () => this.#snapshots.get();

  #taken() {
    const {state, entries, people} = this.#copy;
    return {
      state: new Map(state),
      entries: [...entries],
      people: new Map(people),
      may: this.may,
      live: this.#live,
      error: this.#ended,
    };
  }

  // --- The user's commands ---

  /**
   * Publish an event. It waits, through reconnects, until the server has answered.
   * @param {{key?: string, gone?: boolean}} [options] gone: remove the key; event and data may be null then
   * @returns {Promise<{id?: number, seq?: number}>} rejected with a ChatError if it will not be published
   */
  publish(event, data = {}, {key, gone = false} = {}) {
    return this.#publisher.put(gone ? {gone, key} : {event, data, key}, this.#ended);
  }

  /** Send an event to the subscribers that are there now. It is lost without a connection. */
  signal(event, data = {}, key = undefined) {
    if (this.#live) this.#tools.transmit({type: "signal", topic: this.#name, event, data, key});
  }

  /** Set this socket's state among the people, now and after each reconnect. */
  present(state) {
    this.#presence = state;
    if (this.#live) this.#tools.transmit({type: "present", topic: this.#name, state});
  }

  /**
   * Fetch the entries before or after an id, or the latest.
   * @returns {Promise<{entries: object[], more: boolean}>} oldest first; rejected with a ChatError
   */
  history({before, after, limit = 50} = {}) {
    const page = {before, after, limit: Math.min(limit, LIMIT.HISTORY)};
    return this.#tools.ask({type: "entries", topic: this.#name, ...page}, this.#ended);
  }

  /** End this caller's use. The subscription ends with the last one. */
  close() {
    this.holders -= 1;
    if (this.holders !== 0) return;
    if (!this.#ended && this.#tools.isOpen()) {
      this.#tools.transmit({type: "unsubscribe", topic: this.#name, ref: newRef()});
    }
    this.end(new ChatError("left", "The topic was closed."));
    this.#onClose();
  }

  // --- The connection ---

  /** The connection is open, or something is missing: subscribe from the present position. */
  ask() {
    if (this.#ended) return;
    if (this.#live) this.#become(false);
    this.#askIn(ANSWER_TIMEOUT);
    this.#tools.transmit(this.#command);
  }

  get #command() {
    const command = {type: "subscribe", topic: this.#name, ref: this.#ref, token: this.#tools.token()};
    if (this.#rewind) command.rewind = this.#rewind;
    const known = this.#position !== null && !this.#startOver;
    return known ? {...command, since: this.#position, epoch: this.#epoch ?? undefined} : command;
  }

  /** The connection is lost. */
  lost() {
    this.#tools.clock.clearTimeout(this.#again);
    this.people.clear();
    this.#become(false);
  }

  /** Nothing comes any more. Waiting publications are rejected, and the copy stays. */
  end(error) {
    if (this.#ended) return;
    this.#ended = error;
    this.#tools.clock.clearTimeout(this.#again);
    this.#publisher.rejectAll(error);
    this.#become(false);
    this.#snapshots.close();
  }

  #become(live) {
    this.#live = live;
    if (!live) this.#publisher.stop();
    this.#changed();
  }

  #askIn(delay) {
    this.#tools.clock.clearTimeout(this.#again);
    this.#again = this.#tools.clock.setTimeout(() => this.ask(), delay);
  }

  // --- Incoming frames ---

  #handlers = new Map([
    ["subscribed", (frame) => this.#subscribed(frame)],
    ["publication", (frame) => this.#takes(frame) && this.#apply("publication", frame)],
    ["publications", (frame) => this.#takes(frame) && this.#apply("publications", frame)],
    ["position", (frame) => this.#takes(frame)],
    ["signal", ({topic, type, ...signal}) => this.#tell(`signal:${signal.event}`, signal)],
    ["present", (frame) => this.#apply("present", frame)],
    ["removed", (frame) => this.#removed(ChatError.of(frame))],
    ["ack", (frame) => this.#publisher.acked(frame)],
  ]);

  received(frame) {
    if (!this.#ended) this.#handlers.get(frame.type)?.(frame);
  }

  /** Whether the error answered a command of this topic. */
  errored(frame) {
    if (frame.ref === this.#ref) {
      if (isForLater(frame.code)) this.#askIn(this.#busy.next(frame.retryAfter));
      else this.#removed(ChatError.of(frame));
      return true;
    }
    const unknown = frame.code === ERROR.NOT_SUBSCRIBED && this.#publisher.has(frame.ref);
    if (unknown) this.#askIn(this.#busy.next());
    return unknown || this.#publisher.errored(frame);
  }

  #subscribed({resumed, seq, epoch, keep, may = [], you = ""}) {
    this.#tools.clock.clearTimeout(this.#again);
    this.#busy.reset();
    const reset = this.#position !== null && !resumed;
    if (!resumed) {
      this.#copy.clear();
      this.#position = seq;
    }
    const another = this.you && this.you !== you;
    if (another) this.#publisher.rejectAll(new ChatError("other_person", "Somebody else is signed in now."));
    Object.assign(this, {may, keep, you});
    this.#epoch = epoch;
    this.#startOver = false;
    this.#live = true; // a listener may close it
    if (reset) this.#tell("reset", {});
    this.#changed();
    if (this.#presence !== null) this.present(this.#presence);
    if (this.#live) this.#publisher.start();
  }

  /** Whether a numbered frame is the next. A gap is requested once from the position, and then from the beginning. */
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

  #apply(kind, frame) {
    this.#copy[kind](frame);
    this.#changed();
  }

  /** The server refused the subscription, or ended it. */
  #removed(error) {
    this.#copy.clear();
    this.people.clear();
    this.end(error);
    this.#tell("removed", {error});
  }

  #changed() {
    this.#tell("change", this);
    this.#snapshots.changed();
  }

  #tell(event, detail) {
    this.#events.dispatchEvent(new CustomEvent(event, {detail}));
  }
}

/** The topics of a client. */
export class Topics {
  #topics = new Map(); // name → Topic
  #tools;
  #open = false;

  /** @param {{transmit, clock, random, token, ask: (command, objection) => Promise<object>}} tools */
  constructor(tools) {
    this.#tools = {...tools, isOpen: () => this.#open};
  }

  /** @returns {Topic} a new one, if there is none or it has ended */
  get(name, options = {}) {
    let topic = this.#topics.get(name);
    if (!topic || topic.error) {
      topic = new Topic(name, options, this.#tools, () => this.#forget(topic));
      this.#topics.set(name, topic);
      if (this.#open) topic.ask();
    }
    topic.holders += 1;
    return topic;
  }

  /** The connection is open. */
  enter() {
    this.#open = true;
    for (const topic of this.#topics.values()) topic.ask();
  }

  /** The connection is lost. */
  lost() {
    this.#open = false;
    for (const topic of this.#topics.values()) topic.lost();
  }

  close(error) {
    for (const topic of this.#topics.values()) topic.end(error);
    this.#topics.clear();
  }

  received(frame) {
    this.#topics.get(frame.topic)?.received(frame);
  }

  /** Whether the error answered a command of a topic. */
  errored(frame) {
    return [...this.#topics.values()].some((topic) => topic.errored(frame));
  }

  #forget(topic) {
    if (this.#topics.get(topic.name) === topic) this.#topics.delete(topic.name);
  }
}
