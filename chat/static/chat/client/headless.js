/**
 * Headless stores: `subscribe` and `getSnapshot`, which React's useSyncExternalStore takes as they are. A Svelte store
 * or a Vue `shallowRef` is a line around them.
 */

import {Messages, MessageWindow} from "./messages.js";
import {aboutRoom, ChatError, LIMIT} from "./protocol.js";

/**
 * Milliseconds between two notifications of one listener. 10,000 keys that arrive in 200 ms took 4.6 s of CPU with a
 * snapshot for each change, and 44 ms with this (Node 20).
 */
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

/** Codes of a query whose answer is lost. */
const LOST = new Set(["disconnected", "timeout"]);
/** Messages that a room keeps, unless `older` has brought more. */
const MESSAGES = 1_000;

/**
 * A room as a headless store. It has the latest messages with their edits, deletions and emoji, the user's pending and
 * refused messages, and the people. After a reconnect it goes on; after a `reset` it loads the latest messages again.
 * Two callers of `client.room` with the same name share it; each calls `close` once.
 */
export class Room {
  holders = 0;
  #client;
  #name;
  #onClose;
  #snapshots;
  #all = new Messages();
  #window = null; // a MessageWindow, from the first welcome on
  #most = MESSAGES;
  #seq = 0; // position of the latest welcome
  #joined = false;
  #begun = false; // the latest page is in the window
  #loading = false;
  #error = null;
  #username = null;
  #about = aboutRoom({});
  #people = {users: [], count: 0};
  #claimed = new Set(); // refs of pending messages that seem to have arrived
  #acked = new Map(); // id → a message with an ack, until it arrives

  /**
   * @param {ChatClient} client
   * @param {string} name
   * @param {object} place as for `client.join`; also
   * @param {object[]} [place.messages] the page's messages at `since`, oldest first
   * @param {boolean} [place.more] whether the room has older ones
   * @param {{clock, position: number | null, onClose: () => void}} tools position: of a room that is joined already
   */
  constructor(client, name, {messages, more = false, ...place}, {clock, position, onClose}) {
    this.#client = client;
    this.#name = name;
    this.#onClose = onClose;
    this.#snapshots = new Snapshots(() => this.#taken(), clock);
    if (messages && place.since != null) this.#show(client.marked(messages), more);
    client.join(name, place).then((welcome) => this.#know(welcome), (error) => this.end(error));
    client.restored.then(() => this.#snapshots.changed());
    if (position !== null) this.#enter(position);
  }

  get name() {
    return this.#name;
  }

  // --- A headless store ---

  /** Call `listener` after changes, at most 60 times a second. @returns {() => void} ends it */
  subscribe = (listener) => this.#snapshots.subscribe(listener);

  /**
   * Immutable, and the same object until something changes; a message is the same object until it changes.
   * @returns {{messages: object[], more: boolean, loading: boolean, pending: object[], failed: object[],
   *   people: {users: string[], count: number}, about: object, username: string | null, live: boolean,
   *   error: ChatError | null}} messages: oldest first; more: `older` has more; pending and failed: as of the client;
   *   about: as of `aboutRoom`; live: joined, and the messages are here; error: refused, removed or closed
   */
  getSnapshot = () => this.#snapshots.get();

  #taken() {
    const waiting = this.#client.pending(this.#name).filter(({ref}) => !this.#claimed.has(ref));
    return {
      messages: this.#window?.messages ?? [],
      more: this.#window?.before ?? true,
      loading: this.#loading,
      pending: [...this.#acked.values(), ...waiting].map((entry) => ({...entry})),
      failed: this.#client.failed(this.#name).map((entry) => ({...entry})),
      people: this.#people,
      about: this.#about,
      username: this.#username,
      live: this.#joined && this.#begun,
      error: this.#error,
    };
  }

  // --- The user's commands ---

  /** As `client.send`. The message is in `pending` at once, and in `failed` if it is refused. */
  send(content, options) {
    const promise = this.#client.send(this.#name, content, options);
    this.#snapshots.changed();
    return promise;
  }

  /** Forget a message that was refused. */
  discard(ref) {
    this.#client.discard(ref);
    this.#snapshots.changed();
  }

  /** Load the messages before the oldest. Without a connection nothing happens. @returns {Promise<void>} */
  async older(limit = 50) {
    if (!this.#begun || !this.#window.before) return;
    const {oldest} = this.#window;
    await this.#load({before: oldest, limit}, ({messages, more}) => {
      if (this.#window.oldest !== oldest) return; // the page would leave a gap
      this.#most += messages.length;
      this.#fill(messages, more);
    });
  }

  /** End this caller's use. The last one leaves the room. */
  close() {
    this.holders -= 1;
    if (this.holders !== 0) return;
    if (!this.#error) this.#client.leave(this.#name);
    this.end(new ChatError("left", "The room was left."));
    this.#onClose();
  }

  /** Nothing comes any more. */
  end(error) {
    if (this.#error) return;
    this.#error = error;
    this.#joined = false;
    this.#snapshots.changed();
    this.#snapshots.close();
  }

  // --- The client's events ---

  #handlers = new Map([
    ["state", ({state}) => (this.#joined &&= state === "open")],
    ["person", () => this.#forget()], // other messages are own now; the welcome starts over
    ["welcome", (frame) => this.#welcomed(frame)],
    ["reset", () => this.#startOver()],
    ["removed", (frame) => this.#removed(frame)],
    ["message", (frame) => this.#received(frame)],
    ["edit", (frame) => this.#all.change(frame)],
    ["delete", (frame) => this.#all.change(frame)],
    ["react", (frame) => this.#all.change(frame)],
    ["userList", ({users, count}) => (this.#people = Object.freeze({users, count}))],
    ["room", (frame) => (this.#about = aboutRoom(frame))],
    ["pending", () => {}],
    ["sent", (detail) => this.#sent(detail)],
    ["refused", ({ref}) => this.#claimed.delete(ref)],
  ]);

  /** An event of the client, of this room or of all. */
  received(type, detail) {
    if (this.#error || !this.#handlers.has(type)) return;
    this.#handlers.get(type)(detail);
    this.#snapshots.changed();
  }

  #know(welcome) {
    this.#about = aboutRoom(welcome);
    this.#username = welcome.username;
    this.#snapshots.changed();
  }

  #welcomed(welcome) {
    this.#know(welcome);
    this.#enter(welcome.seq);
  }

  #enter(seq) {
    this.#seq = seq;
    this.#joined = true;
    if (this.#window) this.#begin();
    else this.#startOver();
  }

  #removed(frame) {
    this.#forget();
    this.end(ChatError.of(frame));
  }

  #received({follows, ...frame}) {
    this.#all.change(frame);
    if (frame.type !== "message") return;
    this.#acked.delete(frame.id);
    if (this.#window.has(frame.id) || !this.#window.covers(frame.id)) return;
    if (frame.own) this.#claim(frame);
    this.#window.put(frame);
    this.#window.dropOldest(this.#most);
  }

  /** After a reconnect a message can arrive before its ack: a pending one of the same text is not shown beside it. */
  #claim({content}) {
    const entries = this.#client.pending(this.#name);
    const entry = entries.find((other) => other.content === content && !this.#claimed.has(other.ref));
    if (entry) this.#claimed.add(entry.ref);
  }

  #sent({ref, content, replyTo, id, timestamp}) {
    this.#claimed.delete(ref);
    const comes = this.#window?.covers(id) && !this.#window.has(id);
    if (comes) this.#acked.set(id, {ref, room: this.#name, content, replyTo, at: timestamp});
  }

  // --- Pages of history ---

  #forget() {
    this.#window?.clear();
    this.#window = null;
    this.#begun = this.#loading = false;
    this.#most = MESSAGES;
    this.#claimed.clear();
    this.#acked.clear();
  }

  #startOver() {
    this.#forget();
    this.#window = new MessageWindow(this.#all, {before: true, floor: this.#seq});
    this.#begin();
  }

  #show(messages, more) {
    this.#window = new MessageWindow(this.#all, {messages, before: more});
    this.#begun = true;
  }

  async #begin() {
    if (this.#begun) return;
    await this.#load({}, ({messages, more}) => {
      this.#begun = true;
      this.#fill(messages, more);
    });
  }

  #fill(messages, more) {
    for (const message of messages) this.#window.put(message);
    this.#window.before = more;
  }

  /** Fetch one page at a time; `take` inserts it. Where the connection is lost, the next welcome begins again. */
  async #load({before, limit = LIMIT.HISTORY / 2}, take) {
    if (this.#loading) return;
    const window = this.#window;
    this.#loading = true;
    this.#snapshots.changed();
    const page = await this.#client.history(this.#name, {before, limit}).catch((error) => error);
    if (window !== this.#window || this.#error) return;
    this.#loading = false;
    if (!(page instanceof Error)) take(page);
    this.#snapshots.changed();
    if (LOST.has(page.code) && this.#joined) this.#begin();
  }
}
