/**
 * A chat client: one WebSocket, several rooms, messages that arrive once. No dependencies and no DOM: it runs
 * in a page, in a worker and in Node.
 *
 *     const store = openStore({owner: you});              // store.js; without one, pending messages are kept in memory only
 *     const client = new ChatClient("wss://chat.example/ws", {you, store}); // the person's key, as /whoami tells it
 *     client.addEventListener("message", ({detail}) => console.log(detail.username, detail.content));
 *     client.connect();
 *     await client.join("lobby", {username: "Ann"});
 *     const {id} = await client.send("lobby", "hello");   // settles when the server has stored it
 *     await client.react("lobby", id, "👍", true);
 *     const {messages, more} = await client.history("lobby", {before: id, limit: 20});
 *     await client.moderation.mute("lobby", "Bob", {seconds: 600}); // moderation.js
 *     const {subscribe, getSnapshot} = client.room("lobby"); // a store for React, Vue or Svelte (headless.js)
 *     const board = client.topic("board:cpu");           // what else the site publishes (topic.js)
 *
 * The client reconnects by itself, with full-jitter backoff, and resumes each room where it was left. Commands without
 * an ack are sent again, in order and with the same ref, so the server applies each once. With a store, pending messages
 * survive a reload or a crash of the page too.
 *
 * The server identifies authors by keys. Messages, joins, typing and emoji get `own`: true if they are the reader's. In a
 * `userList`, `own` is the index of the reader. A user's messages are never sent over another user's connection: if the
 * cookies have changed, they are refused with `other_person`.
 *
 * Events, each a CustomEvent whose `detail` is:
 *
 * - `state`: {state, retryIn?, code?, reason?}. "connecting"; "open"; "waiting" and "offline" (next try in
 *   `retryIn` ms); "closed" (by `close()`, or for good by the server's close code; `connect()` starts again)
 * - `welcome`, `join`, `leave`, `userList`, `message`, `edit`, `delete`, `react`, `read`, `typing`, `history`,
 *   `found`, `members`, `sharing`, `invite`: the server's frame (protocol.md). An unknown type of
 *   frame is passed on under its own `type`. Numbered frames arrive in order, once, and without gaps: a missing one is
 *   requested. A `welcome` can arrive again at any time
 * - `room`: the server's frame, when the room or your role in it has changed; `aboutRoom` (protocol.js) fills in the
 *   fields that it leaves out, as for a `welcome`
 * - `person`: {you, username}. The connection came back as another user, so the page shows a former user's messages.
 *   Afterwards that user's pending messages are refused
 * - `removed`: the server's frame. You were removed from the room, until `join` is called again
 * - `late`: {late}. The server lost the other servers of the site, or has them again: messages of users there may be late
 * - `expiring`: {after}. The token expires in `after` ms. With the option `token` the client sends a new one by itself
 * - `reset`: {room}. Missed frames can't be resent: forget the room's messages and start from `history`
 * - `pending`: an entry as of `pending()`. A message of another, closed tab was found after `restored`
 * - `sent`: {ref, room, content, replyTo, id, seq, timestamp}. A message was acknowledged
 * - `later`: {ref, room, retryIn, error}. The server deferred a message (`slow_mode`, `too_many`, `busy`); it is
 *   sent again in `retryIn` ms, and the messages behind it wait
 * - `refused`: {ref, room, content, replyTo, error}. A message will not be sent; `error` is a ChatError
 * - `error`: {code, message, field?, ref?, retryAfter?, room?, command?}. The server refused another command;
 *   `command` is its type. A refused join is not tried again until `join` is called again.
 */

import {systemClock} from "./backoff.js";
import {Room} from "./headless.js";
import {Moderation} from "./moderation.js";
import {ChatError, ERROR, LIMIT, newRef} from "./protocol.js";
import {Session} from "./session.js";
import {contentError, emojiError, mended, queryError} from "./text.js";

export class ChatClient extends EventTarget {
  /** Commands of moderators and owners (moderation.js). */
  moderation = new Moderation((command) => this.#session.ask(command));
  #session;
  #clock;
  #rooms = new Map(); // name → Room

  /**
   * @param {string} url ws: or wss:
   * @param {object} [options] all optional
   * @param {string} [options.you] the key of the page's user, if the page knows it before the first `welcome`
   * @param {typeof WebSocket} [options.WebSocket]
   * @param {{now, setTimeout, clearTimeout}} [options.clock] milliseconds, monotonic
   * @param {() => number} [options.random] like Math.random
   * @param {{window?: Window, document?: Document}} [options.environment] sources of the network's and the tab's state
   * @param {{load, put, delete, clear}} [options.store] keeps pending messages beyond the page (store.js)
   * @param {() => Promise<string>} [options.token] returns a JWT that identifies the user, instead of a cookie; called for each
   *   connection, and before a token expires
   * @param {number} [options.outboxLimit] most commands that may wait for an ack, 100 by default
   */
  constructor(url, {clock = systemClock, random = Math.random, ...options} = {}) {
    super();
    this.#clock = clock;
    this.#session = new Session(url, {clock, random, ...options}, (type, detail) => this.#emit(type, detail));
  }

  /** "idle" before the first `connect`, then as in the `state` event. */
  get state() {
    return this.#session.connection.state;
  }

  /** The reader's key, as the server gave it: "" if it knows only a name, null before the first `welcome`. */
  get you() {
    return this.#session.person.key;
  }

  /** Mark messages that did not arrive in a frame, such as those in the page's HTML, with `own`. */
  marked(messages) {
    return this.#session.person.messages(messages);
  }

  /** Settles, within 3 s, when `pending` has the messages that an earlier page left in the store. None is sent before. */
  get restored() {
    return this.#session.publisher.restored;
  }

  /** Connect, or, if a retry is scheduled, retry now. */
  connect() {
    this.#session.connection.connect();
  }

  /** The sign-in has ended: close, and drop all pending messages, in memory and in the store. */
  forget() {
    this.close();
    this.#session.publisher.forget();
  }

  /** Leave all rooms, close all topics and disconnect. Messages without an ack stay pending until the next join; changes don't. */
  close() {
    this.#session.connection.close();
    const error = new ChatError("closed", "The chat was closed.");
    this.#session.rooms.close(error);
    this.#session.topics.close(error);
    for (const room of this.#rooms.values()) room.end(error);
    this.#rooms.clear();
    this.#session.ephemeral.clear();
    this.#session.publisher.close(error);
  }

  /**
   * Join a room, now and after each reconnect. A page whose session the server knows needs no username.
   * @param {string} room
   * @param {{username?: string, since?: number, epoch?: string | null}} [place] since and epoch: the position that
   *   the page has already. Later frames follow; if the server no longer has them, `reset` follows
   * @returns {Promise<object>} the first `welcome`; rejected when the server refuses
   */
  join(room, place = {}) {
    this.#session.publisher.open(room);
    return this.#session.rooms.join(room, place);
  }

  /** Leave a room. Its commands without an ack are dropped. */
  leave(room) {
    if (!this.#session.rooms.has(room)) return;
    const error = new ChatError("left", "The room was left.");
    const told = this.#session.rooms.leave(room, error);
    if (told) this.#session.connection.send({type: "leave", room, ref: newRef()});
    this.#session.ephemeral.leave(room);
    this.#session.publisher.leave(room, error);
  }

  /**
   * Create a room, as its owner.
   * @param {{kind?: "public" | "members" | "private", room?: string}} [options] room: the name of a public room
   * @returns {Promise<{room: string}>} where to `join`
   */
  create(title, {kind = "private", room} = {}) {
    return this.#session.ask({type: "create", title, kind, room});
  }

  /** Open the direct room with one other account. @returns {Promise<{room: string}>} where to `join` */
  direct(username) {
    return this.#session.ask({type: "direct", username});
  }

  // --- Messages ---

  /**
   * Publish a message. It stays pending until the server has answered, through any number of reconnects. Characters that
   * draw nothing and are of no use are removed, as the server does too (text.js).
   * @param {{ref?: string, replyTo?: number}} [options] ref: of an earlier attempt, so that the message is not
   *   published twice; replyTo: the id of the message that this one answers
   * @returns {Promise<{id: number, seq: number, timestamp: number}>} rejected with a ChatError when the
   *   message will not be sent
   */
  send(room, content, {ref = newRef(), replyTo} = {}) {
    const said = mended(content, LIMIT.CONTENT);
    const entry = {ref, room, content: said};
    if (replyTo !== undefined) Object.assign(entry, {replyTo, epoch: this.#session.rooms.epochOf(room)});
    this.#session.ephemeral.spoke(room);
    return this.#session.publisher.put(entry, contentError(said) ?? this.#absence(room));
  }

  /** The pending messages of a room: [{ref, room, content, replyTo?, at, tries}], oldest first. */
  pending(room) {
    return this.#session.publisher.pending(room);
  }

  /** The refused messages of a room, until sent again by their ref or discarded; each has `failed`: {code, message, field?}. */
  failed(room) {
    return this.#session.publisher.failed(room);
  }

  /** Forget a message that was refused. */
  discard(ref) {
    this.#session.publisher.discard(ref);
  }

  /**
   * Edit one's own message. A change waits in memory, behind earlier commands, through reconnects.
   * @returns {Promise<{id: number, seq: number}>} rejected with a ChatError when it will not be done
   */
  edit(room, id, content) {
    const said = mended(content, LIMIT.CONTENT);
    return this.#change(room, {type: "edit", id, content: said}, contentError(said));
  }

  /** Delete a message: one's own, or, as a moderator, another user's. */
  remove(room, id) {
    return this.#change(room, {type: "delete", id});
  }

  /** Add an emoji to a message, or remove one's own. */
  react(room, id, emoji, on = true) {
    return this.#change(room, {type: "react", id, emoji, on}, emojiError(emoji));
  }

  // --- Ephemeral signals ---

  /** Signal that the user is typing. May be called at each key: at most one every two seconds is sent. */
  typing(room) {
    this.#session.ephemeral.typing(room);
  }

  /** Signal that everything up to `seq` was read. At most one every two seconds is sent, always the last, never a lower one. */
  read(room, seq) {
    this.#session.ephemeral.read(room, seq);
  }

  /** The page may be closed: send the read position now, without waiting for the two seconds. */
  tellNow() {
    this.#session.ephemeral.tellNow();
  }

  // --- Headless stores and topics ---

  /**
   * A room as a store for React, Vue or Svelte: `subscribe` and `getSnapshot`. It joins the room.
   * @param {object} [place] as for `join`, and the page's messages (headless.js)
   * @returns {import("./headless.js").Room}
   */
  room(name, place = {}) {
    let room = this.#rooms.get(name);
    if (!room || room.getSnapshot().error) {
      const {joined, lastSeq} = this.#session.rooms.get(name) ?? {};
      const onClose = () => this.#rooms.get(name) === room && this.#rooms.delete(name);
      room = new Room(this, name, place, {clock: this.#clock, position: joined ? lastSeq : null, onClose});
      this.#rooms.set(name, room);
    }
    room.holders += 1;
    return room;
  }

  /**
   * Subscribe to a topic (topic.js), now and after each reconnect.
   * @param {string} name as `order:42`
   * @param {{rewind?: number, since?: number, epoch?: string}} [options] rewind: how many of a stream's latest entries
   *   come first; since and epoch: the position that the page has already, so only later entries come
   * @returns {import("./topic.js").Topic}
   */
  topic(name, options) {
    return this.#session.topics.get(name, options);
  }

  // --- Queries ---

  /**
   * Fetch messages before or after an id, or the latest.
   * @returns {Promise<{messages: object[], more: boolean}>} oldest first; more: whether the room has more
   *   in that direction. Rejected with a ChatError: "disconnected" without a connection, or if it is lost or `reset` comes first
   */
  history(room, {before, after, limit = 50} = {}) {
    return this.#session.ask({type: "history", room, before, after, limit: Math.min(limit, LIMIT.HISTORY)});
  }

  /**
   * Search for messages with these words; the last word may be unfinished.
   * @returns {Promise<{messages: object[], more: boolean}>} newest first; rejected like `history`
   */
  search(room, query, {before, limit = 20} = {}) {
    const words = mended(query, LIMIT.QUERY);
    const command = {type: "search", room, query: words, before, limit: Math.min(limit, LIMIT.HISTORY)};
    return this.#session.ask(command, queryError(words));
  }

  #change(room, change, objection) {
    const entry = {ref: newRef(), room, change, epoch: this.#session.rooms.epochOf(room)};
    return this.#session.publisher.put(entry, objection ?? this.#absence(room));
  }

  /** The headless stores are up to date before a listener is called. */
  #emit(type, detail) {
    const rooms = detail.room === undefined ? [...this.#rooms.values()] : [this.#rooms.get(detail.room)];
    for (const room of rooms) room?.received(type, detail);
    this.dispatchEvent(new CustomEvent(type, {detail}));
  }

  /** The error for a room that was not joined, or null. */
  #absence(room) {
    if (this.#session.rooms.has(room)) return null;
    return new ChatError(this.state === "closed" ? "closed" : ERROR.NOT_JOINED, "Join the room first.");
  }
}

export {ChatError, newRef};
