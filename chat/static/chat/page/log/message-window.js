import {changed} from "../../client/changes.js";

/** Messages of a room by id, without a gap between the first and the last. Pure. */
export class MessageWindow {
  before = false; // whether the room has older ones than these
  after = false; // whether it has newer ones than these, beyond what comes live
  #messages = [];
  #known = new Map(); // id → message

  /** @param {{messages?: object[], before?: boolean, after?: boolean}} [content] messages oldest first */
  constructor({messages = [], before = false, after = false} = {}) {
    this.before = before;
    this.after = after;
    for (const message of messages) this.put(message);
  }

  get messages() {
    return this.#messages;
  }

  get length() {
    return this.#messages.length;
  }

  get oldest() {
    return this.#messages[0]?.id ?? null;
  }

  get newest() {
    return this.#messages.at(-1)?.id ?? 0;
  }

  get(id) {
    return this.#known.get(id);
  }

  /** Take a message in, or its later state. Returns whether it is new here. */
  put(message) {
    if (this.#known.has(message.id)) {
      this.change(message);
      return false;
    }
    this.#known.set(message.id, message);
    if (message.id > this.newest) this.#messages.push(message);
    else this.#messages.splice(this.#placeOf(message.id), 0, message);
    return true;
  }

  /** Take a change in, where its message is here. Returns whether it is. */
  change(frame) {
    const message = this.#known.get(frame.id);
    if (!message) return false;
    const later = changed(message, frame);
    if (later !== message) this.#replace(message.ref ? {...later, ref: message.ref} : later);
    return true;
  }

  #replace(message) {
    this.#known.set(message.id, message);
    this.#messages[this.#placeOf(message.id)] = message;
  }

  /** Let messages go from the old end, down to `keep`. */
  dropOldest(keep) {
    const excess = this.length - keep;
    if (excess <= 0) return;
    this.#forget(this.#messages.splice(0, excess));
    this.before = true;
  }

  /** Let messages go from the new end, down to `keep`. */
  dropNewest(keep) {
    if (this.length <= keep) return;
    this.#forget(this.#messages.splice(keep));
    this.after = true;
  }

  #forget(messages) {
    for (const {id} of messages) this.#known.delete(id);
  }

  /** Binary search for the first message whose id is not smaller. */
  #placeOf(id) {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#messages[middle].id < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
