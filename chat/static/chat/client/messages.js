/**
 * A message after a change, and the messages that a page has, each kept once. Pure.
 *
 * `Messages` owns their state: a change is made there and nowhere else. The windows, the quotes and the search results
 * keep ids. Each of them holds the messages that it shows, and releases those that it does not show any more. A message
 * that nobody holds is forgotten.
 */

/** Frames whose seq is a number of the room's log. `read` names a position in it, and is no change of the room. */
export function isNumbered({type, seq}) {
  return Number.isSafeInteger(seq) && type !== "read";
}

/**
 * The message after a change. The frame is a `message`, `edit`, `delete` or `react`. A frame of another message, or one
 * that is older than the message's state, changes nothing.
 */
export function changed(message, frame) {
  if (frame.id !== message.id || !(frame.seq > message.seq)) return message;
  const {content, edited, deleted, reactions, ...rest} = message;
  const now = {...rest, seq: frame.seq};
  switch (frame.type) {
    case "message":
      return stated(frame);
    case "edit": // also an edit of a deleted message: the staff may restore it
      return given({...now, content: frame.content, edited: frame.edited, reactions: frame.reactions});
    case "delete":
      return {...now, content: "", deleted: true};
    case "react":
      return given({...now, content, edited, deleted, reactions: frame.reactions});
    default:
      return message;
  }
}

function stated({follows, ...message}) {
  return message;
}

function given(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

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
  #floor;
  #ids = []; // ascending

  /**
   * @param {Messages} all
   * @param {{messages?: object[], before?: boolean, after?: boolean, floor?: number}} [content] messages oldest first;
   *   floor: every later message arrives live, also while the window is empty
   */
  constructor(all, {messages = [], before = false, after = false, floor = Infinity} = {}) {
    this.#all = all;
    this.#floor = floor;
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

  /** Whether a message of this id belongs here; an older one would leave a gap. */
  covers(id) {
    return !this.before || id > this.#floor || id >= (this.oldest ?? Infinity);
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
    this.#floor = Infinity;
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
