/**
 * A chat client: one WebSocket, several rooms, messages that arrive once. No dependencies and no DOM: it runs
 * in a page, in a worker and in Node.
 *
 *     const store = openStore({owner: you});              // store.js; without one, what waits lives in memory
 *     const client = new ChatClient("wss://chat.example/ws", {you, store}); // you: the person's key, as /whoami tells it
 *     client.addEventListener("message", ({detail}) => console.log(detail.username, detail.content));
 *     client.connect();
 *     await client.join("lobby", {username: "Ann"});
 *     const {id} = await client.send("lobby", "hello");   // settles when the server has kept it
 *     await client.react("lobby", id, "👍", true);
 *     const {messages, more} = await client.history("lobby", {before: id, limit: 20});
 *     await client.moderation.mute("lobby", "Bob", {seconds: 600}); // moderation.js
 *
 * It comes back by itself, with full-jitter back-off, and continues each room where it was left. What was not
 * acknowledged is sent again, in order and with the same ref, which the server takes once. With a store that
 * holds for messages over a reload or a crash of the page too.
 *
 * The server tells authors by keys: messages, joins, typing and emoji have `own`; in a `userList` it is the reader's
 * place. A person's messages are sent over no connection of another: should the cookies have changed, they are refused
 * with `other_person`.
 *
 * Events, each a CustomEvent whose `detail` is:
 *
 * - `state`: {state, retryIn?, code?, reason?}. "connecting"; "open"; "waiting" and "offline" (next try in
 *   `retryIn` ms); "closed" (by `close()`, or for good by the server's close code; `connect()` starts anew)
 * - `welcome`, `join`, `leave`, `userList`, `message`, `edit`, `delete`, `react`, `read`, `typing`, `history`,
 *   `found`, `members`, `sharing`, `invite`: the server's frame (protocol.md). A later kind of frame is passed on under its own `type`. Numbered
 *   frames come in order, once, and all of them: one that is missing is asked for. A `welcome` can come again at
 *   any time
 * - `room`: the server's frame, when the room or what you are in it has changed; `aboutRoom` (protocol.js) fills in what
 *   it leaves out, as of a `welcome`
 * - `person`: {you, username}. The connection came back as somebody else: the page shows what is not theirs. Then what
 *   the former person wrote is refused
 * - `removed`: the server's frame. You are out of the room, and stay out until `join` is called again
 * - `late`: {late}. The server is cut off from the site's others, or not any more: what people say there may come late
 * - `expiring`: {after}. The token expires in so many ms. With the option `token` a new one is shown by itself
 * - `reset`: {room}. What was missed can't be had: forget the room's messages and start from `history`
 * - `pending`: an entry as of `pending()`. A message of another tab that has ended was found after `restored`
 * - `sent`: {ref, room, content, replyTo, id, seq, timestamp}. A message was acknowledged
 * - `later`: {ref, room, retryIn, error}. The server wants a message later (`slow_mode`, `too_many`, `busy`); it is sent
 *   again in `retryIn` ms, and those behind it wait
 * - `refused`: {ref, room, content, replyTo, error}. A message will not be sent; `error` is a ChatError
 * - `error`: {code, message, field?, ref?, retryAfter?, room?, command?}. The server refused another command;
 *   `command` is its type. A refused join is not tried again until `join` is called again.
 */

import {systemClock} from "./backoff.js";
import {Moderation} from "./moderation.js";
import {ChatError, ERROR, LIMIT, newRef} from "./protocol.js";
import {Session} from "./session.js";
import {contentError, emojiError, mended, queryError} from "./text.js";

export class ChatClient extends EventTarget {
  /** What moderators and owners do (moderation.js). */
  moderation = new Moderation((command) => this.#ask(command));
  #session;

  /**
   * @param {string} url ws: or wss:
   * @param {object} [options] all optional
   * @param {string} [options.you] the key of the page's person, where the page knows it before the first `welcome`
   * @param {typeof WebSocket} [options.WebSocket]
   * @param {{now, setTimeout, clearTimeout}} [options.clock] milliseconds, monotonic
   * @param {() => number} [options.random] like Math.random
   * @param {{window?: Window, document?: Document}} [options.environment] what tells about network and tab
   * @param {{load, put, delete, clear}} [options.store] keeps unacknowledged messages beyond the page (store.js)
   * @param {() => Promise<string>} [options.token] a JWT that says who this is, instead of a cookie: asked for at each
   *   connection and before one expires
   * @param {number} [options.outboxLimit] what may wait for an acknowledgement, 100 by default
   */
  constructor(url, {clock = systemClock, random = Math.random, ...options} = {}) {
    super();
    const emit = (type, detail) => this.dispatchEvent(new CustomEvent(type, {detail}));
    this.#session = new Session(url, {clock, random, ...options}, emit);
  }

  /** "idle" before the first `connect`, then as in the `state` event. */
  get state() {
    return this.#session.connection.state;
  }

  /** The key of who the reader is, as the server gave it: "" where it knows only a name, null before it told. */
  get you() {
    return this.#session.person.key;
  }

  /** Messages that came another way, with the page perhaps, marked as those of frames are. */
  marked(messages) {
    return this.#session.person.messages(messages);
  }

  /** Settles, within 3 s, when `pending` has what an earlier page left in the store. Nothing is sent before. */
  get restored() {
    return this.#session.publisher.restored;
  }

  /** Connect; or, when a next try is due later, try now. */
  connect() {
    this.#session.connection.connect();
  }

  /** The sign-in has ended: close, and keep nothing of what was written, here or in the store. */
  forget() {
    this.close();
    this.#session.publisher.forget();
  }

  /** Leave everything and stop. Messages without an answer (not their changes) wait for who joins again. */
  close() {
    this.#session.connection.close();
    const error = new ChatError("closed", "The chat was closed.");
    this.#session.rooms.close(error);
    this.#session.ephemeral.clear();
    this.#session.publisher.close(error);
  }

  /**
   * Be in a room, now and after each reconnect. A page that the server knows by its session gives no username.
   * @param {string} room
   * @param {{username?: string, since?: number, epoch?: string | null}} [place] since and epoch: the position that
   *   the page shows already. What came after it follows; where that can't be had, `reset` does
   * @returns {Promise<object>} the first `welcome`; rejected when the server refuses
   */
  join(room, place = {}) {
    this.#session.publisher.open(room);
    return this.#session.rooms.join(room, place);
  }

  /** Leave a room. What was not acknowledged there is given up. */
  leave(room) {
    if (!this.#session.rooms.has(room)) return;
    const error = new ChatError("left", "The room was left.");
    const told = this.#session.rooms.leave(room, error);
    if (told) this.#session.connection.send({type: "leave", room, ref: newRef()});
    this.#session.ephemeral.leave(room);
    this.#session.publisher.leave(room, error);
  }

  /**
   * Make a room, and be its owner.
   * @param {{kind?: "public" | "members" | "private", room?: string}} [options] room: its name, of a public one
   * @returns {Promise<{room: string}>} where to `join`
   */
  create(title, {kind = "private", room} = {}) {
    return this.#ask({type: "create", title, kind, room});
  }

  /** Talk with one other person. @returns {Promise<{room: string}>} where to `join` */
  direct(username) {
    return this.#ask({type: "direct", username});
  }

  // --- Messages ---

  /**
   * Publish a message. It is kept until the server has answered, through any number of lost connections. Characters that
   * draw nothing and are of no use are left out, as the server would do it (text.js).
   * @param {{ref?: string, replyTo?: number}} [options] ref: of an earlier try, to be sure that there is one message;
   *   replyTo: the id of the message that this answers
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

  /** The messages of a room that were not acknowledged: [{ref, room, content, replyTo?, at, tries}], oldest first. */
  pending(room) {
    return this.#session.publisher.pending(room);
  }

  /** Messages that were refused, until sent again by their ref or discarded: + `failed`: {code, message, field?}. */
  failed(room) {
    return this.#session.publisher.failed(room);
  }

  /** Forget a message that was refused. */
  discard(ref) {
    this.#session.publisher.discard(ref);
  }

  /**
   * Change the text of one's own message. Each change waits in memory, behind what was said, through lost connections.
   * @returns {Promise<{id: number, seq: number}>} rejected with a ChatError when it will not be done
   */
  edit(room, id, content) {
    const said = mended(content, LIMIT.CONTENT);
    return this.#change(room, {type: "edit", id, content: said}, contentError(said));
  }

  /** Delete a message: one's own, and moderators those of others. */
  remove(room, id) {
    return this.#change(room, {type: "delete", id});
  }

  /** Put an emoji on a message, or take one's own off again. */
  react(room, id, emoji, on = true) {
    return this.#change(room, {type: "react", id, emoji, on}, emojiError(emoji));
  }

  // --- What is told by the way ---

  /** Say that the user is typing. May be called at each key: one in two seconds is sent. */
  typing(room) {
    this.#session.ephemeral.typing(room);
  }

  /** Say that everything up to `seq` was read. One in two seconds is sent, the last one always, and never one back. */
  read(room, seq) {
    this.#session.ephemeral.read(room, seq);
  }

  /** The page may go: tell now how far was read, without waiting for the two seconds to pass. */
  tellNow() {
    this.#session.ephemeral.tellNow();
  }

  // --- Questions ---

  /**
   * Ask for messages before or after an id, or for the latest.
   * @returns {Promise<{messages: object[], more: boolean}>} oldest first, and whether there are more that way; rejected
   *   with a ChatError, "disconnected" when there is no connection, or it is lost or `reset` comes before the answer
   */
  history(room, {before, after, limit = 50} = {}) {
    return this.#ask({type: "history", room, before, after, limit: Math.min(limit, LIMIT.HISTORY)});
  }

  /**
   * Ask for the messages with these words; the last may be unfinished.
   * @returns {Promise<{messages: object[], more: boolean}>} newest first; rejected like `history`
   */
  search(room, query, {before, limit = 20} = {}) {
    const words = mended(query, LIMIT.QUERY);
    const command = {type: "search", room, query: words, before, limit: Math.min(limit, LIMIT.HISTORY)};
    return this.#ask(command, queryError(words));
  }

  #change(room, change, objection) {
    const entry = {ref: newRef(), room, change, epoch: this.#session.rooms.epochOf(room)};
    return this.#session.publisher.put(entry, objection ?? this.#absence(room));
  }

  #ask(command, objection) {
    if (!objection && this.state === "open") return this.#session.queries.ask(command);
    const refused = Promise.reject(objection ?? new ChatError("disconnected", "There is no connection."));
    refused.catch(() => {});
    return refused;
  }

  /** Why nothing can be said in a room that was not joined. */
  #absence(room) {
    if (this.#session.rooms.has(room)) return null;
    return new ChatError(this.state === "closed" ? "closed" : ERROR.NOT_JOINED, "Join the room first.");
  }
}

export {ChatError, newRef};
