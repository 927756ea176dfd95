/**
 * The messages of one room that the page shows, the reader's pending ones, and notices of joins and leaves. Pure: no DOM,
 * no clock. rows.js lays it out.
 *
 * `live` is the end of the room, where new messages arrive. After a jump far back, `window` shows another stretch of the
 * room; when reading on reaches the live end, the two become one again.
 */

import {Messages, MessageWindow} from "../../client/messages.js";
import {PendingMessages} from "./message-sender.js";
import {OptimisticChanges} from "./optimistic-changes.js";

/** Most notices kept. */
const MOST = 200;

/** Joins and leaves, as notices between the messages: {after: id, joined: [name], left: [name]}. Pure. */
export class MembershipNotices {
  #notices = []; // by `after`

  get notices() {
    return this.#notices.filter(({joined, left}) => joined.length || left.length);
  }

  /** @param {number} after the id of the message after which it happened */
  joined(name, after) {
    this.#note("joined", "left", name, after);
  }

  left(name, after) {
    this.#note("left", "joined", name, after);
  }

  /** Forget what happened before the oldest message that is kept. */
  forgetBefore(id) {
    this.#notices = this.#notices.filter(({after}) => after >= id);
  }

  clear() {
    this.#notices = [];
  }

  /** Between two messages, a user who joins and leaves again is not mentioned. */
  #note(list, opposite, name, after) {
    const notice = this.#open(after);
    const before = notice[opposite].indexOf(name);
    if (before >= 0) notice[opposite].splice(before, 1);
    else if (!notice[list].includes(name)) notice[list].push(name);
  }

  #open(after) {
    const last = this.#notices.at(-1);
    if (last?.after === after) return last;
    const notice = {after, joined: [], left: []};
    this.#notices.push(notice);
    if (this.#notices.length > MOST) this.#notices.shift();
    return notice;
  }
}

/** Most messages while the reader follows the newest, how many stay after a trim, and the most in any case. */
export const KEEP = {FOLLOWING: 1_000, AFTER_TRIM: 800, MOST: 1_500, TAIL: 100};

export class Timeline {
  me; // the reader's name, for pending messages
  #you; // the reader's key; the client has marked their messages (person.js)
  live;
  window = null;
  #all; // Messages
  pendingMessages = new PendingMessages();
  optimistic = new OptimisticChanges();
  #membershipNotices = new MembershipNotices();
  #start = 0; // the log's position at the join: notices come after it

  /**
   * @param {string} me the reader's name
   * @param {string} [you] the reader's key, as the server gave it
   * @param {Messages} [all] the messages of the page
   */
  constructor(me, you, all = new Messages()) {
    this.me = me;
    this.#you = you;
    this.#all = all;
    this.live = new MessageWindow(all);
  }

  /** The stretch of the room that is shown. */
  get shown() {
    return this.window ?? this.live;
  }

  get messages() {
    return this.shown.messages;
  }

  get newest() {
    return this.live.newest;
  }

  /** Author of the pending messages, in the form that messages have. */
  get author() {
    return {username: this.me, by: this.#you};
  }

  /** Pending messages are shown at the live end only. */
  get pending() {
    return this.window ? [] : this.pendingMessages.entries;
  }

  get notices() {
    return this.#membershipNotices.notices;
  }

  /** A message that the page has, as the log has it. */
  find(id) {
    return this.#all.get(id);
  }

  /** The message with the reader's unacknowledged changes. */
  state(message) {
    return this.optimistic.over(message);
  }

  /** The reader's last message at the live end that can be edited. */
  get lastOwn() {
    const own = this.live.messages.findLast((message) => message.own && !this.state(message).deleted);
    return own && this.state(own);
  }

  /** The room was joined at this position of its log. */
  startAt(seq) {
    this.#start = seq;
  }

  // --- Incoming frames ---

  /** A numbered frame arrived. Returns whether it is a new message. */
  received(frame) {
    const last = this.newest;
    this.#all.change(frame);
    if (frame.type !== "message" || this.live.has(frame.id) || !this.live.covers(frame.id)) return false;
    this.live.put(frame);
    if (frame.own && frame.id > last) this.pendingMessages.claim(frame);
    return true;
  }

  // --- Pages of history: {messages: oldest first, more} ---

  /** Add the latest page. */
  latest({messages, more}) {
    this.live.before = more;
    this.#fill(this.live, messages);
  }

  /** Add the page before the oldest shown message. */
  older({messages, more}) {
    this.shown.before = more;
    this.#fill(this.shown, messages);
    if (this.shown.length > KEEP.MOST) this.#letNewestGo();
  }

  /** Add the page after the newest message of the window. */
  newer({messages, more}) {
    this.#fill(this.window, messages);
    this.window.after = more;
    if (!more || this.window.newest >= this.live.oldest) this.#join();
    else this.window.dropOldest(KEEP.MOST);
  }

  /** Show another stretch of the room. */
  lookAt({messages, before, after}) {
    this.#show(new MessageWindow(this.#all, {messages, before, after}));
    if (!after || this.window.newest >= this.live.oldest) this.#join();
  }

  /** Show the live end again. */
  lookAtLive() {
    this.#show(null);
  }

  #show(window) {
    this.window?.clear();
    this.window = window;
  }

  #fill(messageWindow, messages) {
    for (const message of messages) messageWindow.put(message);
  }

  /** The window has reached the live end: make them one stretch. */
  #join() {
    this.live.before = this.window.before;
    this.#fill(this.live, this.window.messages);
    this.#show(null);
    this.#dropOldest(KEEP.MOST);
  }

  /** A reader far back gets a window, and the live end is kept short. */
  #letNewestGo() {
    if (!this.window) {
      const {messages, before} = this.live;
      this.window = new MessageWindow(this.#all, {messages, before, after: true});
      this.#dropOldest(KEEP.TAIL);
    }
    this.window.dropNewest(KEEP.MOST - KEEP.TAIL);
  }

  // --- The reader's messages ---

  /** The server has acknowledged it: it becomes a message, unless that arrived before. */
  confirm(ref, {id, seq, timestamp}) {
    const entry = this.pendingMessages.take(ref);
    if (!entry || !this.live.covers(id)) return;
    // `ref` stays as the row's key, so that the row on the screen is not replaced.
    const {content, replyTo} = entry;
    this.live.put({type: "message", id, seq, timestamp, ...this.author, own: true, content, replyTo, ref});
  }

  // --- Joins and leaves ---

  joined(name) {
    this.#membershipNotices.joined(name, Math.max(this.newest, this.#start));
  }

  left(name) {
    this.#membershipNotices.left(name, Math.max(this.newest, this.#start));
  }

  // --- Limits ---

  /**
   * Drop messages if there are too many. History brings them back.
   * @param {boolean} following the reader is at the newest message and does not see the oldest
   */
  trim(following) {
    if (following || this.window) {
      if (this.live.length > KEEP.FOLLOWING) this.#dropOldest(KEEP.AFTER_TRIM);
    } else if (this.live.length > KEEP.MOST) {
      this.#letNewestGo();
    }
  }

  #dropOldest(keep) {
    this.live.dropOldest(keep);
    this.#membershipNotices.forgetBefore(this.live.oldest);
  }

  /** The log has a new epoch: start over. Pending messages stay. */
  reset() {
    this.live.clear();
    this.live = new MessageWindow(this.#all);
    this.#show(null);
    this.optimistic.clear();
    this.#membershipNotices.clear();
    this.pendingMessages.unclaim();
  }
}
