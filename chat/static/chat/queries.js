import {Backoff} from "./backoff.js";
import {ChatError} from "./errors.js";
import {newRef} from "./outbox.js";

/** Milliseconds that a question may stay open. */
const TIMEOUT = 15_000;

/** Questions that have an answer each (`history`). They do not outlive their link: who still wants to know asks again. */
export class Queries {
  #open = new Map(); // ref → {command, resolve, reject, deadline, again, backoff}
  #transmit;
  #clock;
  #random;

  constructor({transmit, clock, random}) {
    this.#transmit = transmit;
    this.#clock = clock;
    this.#random = random;
  }

  /** @returns {Promise<object>} the answering frame; rejected with a ChatError */
  ask(command) {
    const ref = newRef();
    const promise = new Promise((resolve, reject) => {
      const deadline = this.#clock.setTimeout(
        () => this.refuse(ref, new ChatError("timeout", "The server took too long to answer.")),
        TIMEOUT,
      );
      const backoff = new Backoff({random: this.#random});
      this.#open.set(ref, {command: {...command, ref}, resolve, reject, deadline, again: null, backoff});
      this.#transmit({...command, ref});
    });
    promise.catch(() => {});
    return promise;
  }

  has(ref) {
    return this.#open.has(ref);
  }

  /** The command that has this ref. */
  command(ref) {
    return this.#open.get(ref)?.command;
  }

  answer(ref, frame) {
    this.#take(ref)?.resolve(frame);
  }

  refuse(ref, error) {
    this.#take(ref)?.reject(error);
  }

  busy(ref, retryAfter) {
    const query = this.#open.get(ref);
    this.#clock.clearTimeout(query.again);
    query.again = this.#clock.setTimeout(
      () => this.#transmit(query.command),
      retryAfter ?? query.backoff.next(),
    );
  }

  abandon(error) {
    for (const ref of [...this.#open.keys()]) this.refuse(ref, error);
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
