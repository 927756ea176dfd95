import {ChatError} from "./errors.js";
import {Membership} from "./membership.js";
import {isForLater} from "./protocol.js";

/** The rooms that the user wants to be in: entered with each new link, and told apart. */
export class Rooms {
  #memberships = new Map(); // room → Membership
  #emit;
  #tools;
  #open = false; // there is a link to ask over

  /** @param {{emit: (type: string, detail: object) => void, tools: {transmit, clock, random, token}}} options */
  constructor({emit, tools}) {
    this.#emit = emit;
    this.#tools = tools;
  }

  get(room) {
    return this.#memberships.get(room);
  }

  has(room) {
    return this.#memberships.has(room);
  }

  /** The life of the room that its ids are of, as far as we know. */
  epochOf(room) {
    return this.get(room)?.epoch ?? undefined;
  }

  /** @returns {Promise<object>} the first `welcome` */
  join(room, place) {
    const known = this.get(room);
    if (known && !known.refused) return known.welcome;
    const membership = new Membership(room, place, this.#tools, known);
    this.#memberships.set(room, membership);
    if (this.#open) membership.ask();
    return membership.welcome;
  }

  /** A link is there. */
  enter() {
    this.#open = true;
    for (const membership of this.#memberships.values()) if (!membership.refused) membership.ask();
  }

  /** The link is gone. */
  lost() {
    this.#open = false;
    for (const membership of this.#memberships.values()) membership.lost();
  }

  /** @returns {boolean} whether the server has to be told */
  leave(room, error) {
    const membership = this.get(room);
    this.#memberships.delete(room);
    membership.refuse(error);
    return membership.joined;
  }

  /** The server took the user out: only another `join` asks again. Returns whether they were in. */
  removed({room, ...frame}) {
    const membership = this.get(room);
    if (!membership || membership.refused) return false;
    membership.removed(ChatError.of(frame));
    return true;
  }

  close(error) {
    for (const room of [...this.#memberships.keys()]) this.leave(room, error);
  }

  /** Whether a numbered frame is the next of its room. */
  takes(frame) {
    return this.get(frame.room)?.takes(frame) ?? false;
  }

  /** Whether the error was an answer to a join. */
  errored(frame) {
    const membership = [...this.#memberships.values()].find(({ref}) => ref === frame.ref);
    if (!membership) return false;
    if (isForLater(frame.code)) {
      membership.askLater(frame.retryAfter);
    } else {
      membership.refuse(ChatError.of(frame));
      this.#emit("error", {...frame, room: membership.room, command: "join"});
    }
    return true;
  }
}
