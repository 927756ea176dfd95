import {ChatError} from "./errors.js";
import {Subscription} from "./subscription.js";
import {isForLater} from "./protocol.js";

/** The rooms that the user wants to be in: entered with each new link, and told apart. */
export class Subscriptions {
  #subscriptions = new Map(); // room → Membership
  #emit;
  #tools;
  #open = false; // there is a link to ask over

  /** @param {{emit: (type: string, detail: object) => void, tools: {transmit, clock, random, token}}} options */
  constructor({emit, tools}) {
    this.#emit = emit;
    this.#tools = tools;
  }

  get(room) {
    return this.#subscriptions.get(room);
  }

  has(room) {
    return this.#subscriptions.has(room);
  }

  /** The life of the room that its ids are of, as far as we know. */
  epochOf(room) {
    return this.get(room)?.epoch ?? undefined;
  }

  /** @returns {Promise<object>} the first `welcome` */
  join(room, place) {
    const known = this.get(room);
    if (known && !known.refused) return known.welcome;
    const subscription = new Subscription(room, place, this.#tools, known);
    this.#subscriptions.set(room, subscription);
    if (this.#open) subscription.ask();
    return subscription.welcome;
  }

  /** A link is there. */
  enter() {
    this.#open = true;
    for (const subscription of this.#subscriptions.values()) if (!subscription.refused) subscription.ask();
  }

  /** The link is gone. */
  lost() {
    this.#open = false;
    for (const subscription of this.#subscriptions.values()) subscription.lost();
  }

  /** @returns {boolean} whether the server has to be told */
  leave(room, error) {
    const subscription = this.get(room);
    this.#subscriptions.delete(room);
    subscription.refuse(error);
    return subscription.joined;
  }

  /** The server took the user out: only another `join` asks again. Returns whether they were in. */
  removed({room, ...frame}) {
    const subscription = this.get(room);
    if (!subscription || subscription.refused) return false;
    subscription.removed(ChatError.of(frame));
    return true;
  }

  close(error) {
    for (const room of [...this.#subscriptions.keys()]) this.leave(room, error);
  }

  /** Whether a numbered frame is the next of its room. */
  takes(frame) {
    return this.get(frame.room)?.takes(frame) ?? false;
  }

  /** Whether the error was an answer to a join. */
  errored(frame) {
    const subscription = [...this.#subscriptions.values()].find(({ref}) => ref === frame.ref);
    if (!subscription) return false;
    if (isForLater(frame.code)) {
      subscription.askLater(frame.retryAfter);
    } else {
      subscription.refuse(ChatError.of(frame));
      this.#emit("error", {...frame, room: subscription.room, command: "join"});
    }
    return true;
  }
}
