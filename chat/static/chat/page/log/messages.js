/**
 * The messages that the page has, each kept once. Pure.
 *
 * `Messages` owns their state: a change is made there and nowhere else. The timeline's windows, the quotes and the
 * search results keep ids. Each of them holds the messages that it shows, and releases those that it does not show
 * any more. A message that nobody holds is forgotten.
 */

import {changed} from "../../client/changes.js";

export class Messages {
  #records = new Map(); // id → {message, holders: number}

  get size() {
    return this.#records.size;
  }

  get(id) {
    return this.#records.get(id)?.message;
  }

  /** Hold a message. If it is here already, the later state of the two counts. */
  hold(message) {
    const record = this.#records.get(message.id);
    if (record) {
      record.holders += 1;
      this.change(message);
      if (message.ref) record.message = {...record.message, ref: message.ref};
    } else {
      this.#records.set(message.id, {message, holders: 1});
    }
  }

  /** End one hold. */
  release(id) {
    const record = this.#records.get(id);
    record.holders -= 1;
    if (record.holders === 0) this.#records.delete(id);
  }

  /** Apply a frame (`message`, `edit`, `delete` or `react`) to its message, if that is here. */
  change(frame) {
    const record = this.#records.get(frame.id);
    if (!record) return;
    const {ref} = record.message;
    const later = changed(record.message, frame);
    // The ref names the row on the screen: the row stays the same one.
    if (later !== record.message) record.message = ref ? {...later, ref} : later;
  }
}

/** A stretch of a room's messages, by id, without a gap between the first and the last. */
export class MessageWindow {
  before; // whether the room has older messages than these
  after; // whether the room has newer messages than these, beyond those that arrive live
  #all;
  #ids = []; // ascending

  /**
   * @param {Messages} all
   * @param {{messages?: object[], before?: boolean, after?: boolean}} [content] messages oldest first
   */
  constructor(all, {messages = [], before = false, after = false} = {}) {
    this.#all = all;
    this.before = before;
    this.after = after;
    for (const message of messages) this.put(message);
  }

  get messages() {
    return this.#ids.map((id) => this.#all.get(id));
  }

  get length() {
    return this.#ids.length;
  }

  /** Id of the oldest message, or null. */
  get oldest() {
    return this.#ids[0] ?? null;
  }

  /** Id of the newest message, or 0. */
  get newest() {
    return this.#ids.at(-1) ?? 0;
  }

  has(id) {
    return this.#ids[this.#placeOf(id)] === id;
  }

  /** Add a message; if it is here already, apply its later state. */
  put(message) {
    const place = this.#placeOf(message.id);
    if (this.#ids[place] === message.id) {
      this.#all.change(message);
    } else {
      this.#all.hold(message);
      this.#ids.splice(place, 0, message.id);
    }
  }

  /** Drop messages from the old end, down to `keep`. */
  dropOldest(keep) {
    const excess = this.length - keep;
    if (excess <= 0) return;
    this.#release(this.#ids.splice(0, excess));
    this.before = true;
  }

  /** Drop messages from the new end, down to `keep`. */
  dropNewest(keep) {
    if (this.length <= keep) return;
    this.#release(this.#ids.splice(keep));
    this.after = true;
  }

  /** The window is not shown any more. */
  clear() {
    this.#release(this.#ids.splice(0));
  }

  #release(ids) {
    for (const id of ids) this.#all.release(id);
  }

  /** Binary search: place of the first id that is not smaller. */
  #placeOf(id) {
    if (id > this.newest) return this.length;
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#ids[middle] < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
