import {Backoff} from "./backoff.js";
import {changed} from "./messages.js";
import {ChatError, isForLater, newRef} from "./protocol.js";

/** Milliseconds that a query may stay open. */
const TIMEOUT = 15_000;

/**
 * Queries (`history`, `search`, `members`), and commands of moderators and owners, which get an `ack`. They do not
 * outlive their connection: the caller asks again.
 *
 * A change of a message can overtake a reply that was read before it, while the page does not have the message yet. So
 * the changes that arrive while a query is open are applied to its reply.
 */
export class Queries {
  #open = new Map(); // ref → {command, resolve, reject, deadline, again, backoff, changes}
  #emit;
  #transmit;
  #clock;
  #random;

  /** @param {{emit: (type: string, detail: object) => void, tools: {transmit, clock, random}}} options */
  constructor({emit, tools: {transmit, clock, random}}) {
    this.#emit = emit;
    this.#transmit = transmit;
    this.#clock = clock;
    this.#random = random;
  }

  /** @returns {Promise<object>} the answering frame; rejected with a ChatError */
  ask(command) {
    const ref = newRef();
    const promise = new Promise((resolve, reject) => {
      const deadline = this.#clock.setTimeout(
        () => this.#refuse(ref, new ChatError("timeout", "The server took too long to answer.")),
        TIMEOUT,
      );
      const backoff = new Backoff({random: this.#random});
      this.#open.set(ref, {command: {...command, ref}, resolve, reject, deadline, again: null, backoff, changes: []});
      this.#transmit({...command, ref});
    });
    promise.catch(() => {});
    return promise;
  }

  /** A numbered frame arrived. */
  changed(frame) {
    for (const {command, changes} of this.#open.values()) {
      if (command.room === frame.room) changes.push(frame);
    }
  }

  /** A reply arrived. A reply to no open query may be outdated, so it is dropped. */
  answer(frame) {
    const query = this.#take(frame.ref);
    if (!query) return;
    const messages = frame.messages?.map((message) => query.changes.reduce(changed, message));
    const answer = messages ? {...frame, messages} : frame;
    this.#emit(frame.type, answer);
    query.resolve(answer);
  }

  /** Whether the ack answered one of these commands. */
  acked(frame) {
    const query = this.#take(frame.ref);
    query?.resolve(frame);
    return query !== undefined;
  }

  /** Whether the error answered a query. */
  errored(frame) {
    const query = this.#open.get(frame.ref);
    if (!query) return false;
    if (isForLater(frame.code)) {
      this.#again(query, frame.retryAfter);
    } else {
      this.#refuse(frame.ref, ChatError.of(frame));
      this.#emit("error", {...frame, room: query.command.room, command: query.command.type});
    }
    return true;
  }

  /** The connection is lost. */
  lost() {
    this.#abandon("The connection was lost.", () => true);
  }

  /** The room starts over: a reply in flight may lack missed messages. */
  startOver(room) {
    this.#abandon("The room starts over.", ({command}) => command.room === room);
  }

  /** The user was removed from the room. */
  removed(room) {
    this.#abandon("You are not in the room any more.", ({command}) => command.room === room);
  }

  #abandon(reason, which) {
    const refs = [...this.#open].filter(([, query]) => which(query)).map(([ref]) => ref);
    for (const ref of refs) this.#refuse(ref, new ChatError("disconnected", reason));
  }

  #refuse(ref, error) {
    this.#take(ref)?.reject(error);
  }

  #again(query, retryAfter) {
    this.#clock.clearTimeout(query.again);
    const delay = query.backoff.next(retryAfter);
    query.again = this.#clock.setTimeout(() => this.#transmit(query.command), delay);
  }

  #take(ref) {
    const query = this.#open.get(ref);
    if (!query) return undefined;
    this.#open.delete(ref);
    this.#clock.clearTimeout(query.deadline);
    this.#clock.clearTimeout(query.again);
    return query;
  }
}
