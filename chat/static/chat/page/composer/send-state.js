/** Whether the reader may send now, and why a message waits. Pure: times are passed in. */

import {write} from "../shell/dom.js";
import {speakingWords} from "../shell/room-words.js";
import {clockTime, shortTime} from "../shell/words.js";

const FREE = {why: null, can: true, until: null};

export class SendState {
  #held = null; // {ref, why, until}: our message that the server deferred
  #spokenAt = -Infinity;

  /** The server deferred a message. @param {{ref, retryIn, error: {code}}} later of the client's event */
  later({ref, retryIn, error}, now) {
    const why = {slow_mode: "waiting", too_many: "too_many"}[error.code];
    if (why) this.#held = {ref, why, until: now + retryIn};
  }

  /** Our message has its reply. */
  settled(ref) {
    if (this.#held?.ref === ref) this.#held = null;
  }

  spoke(now) {
    this.#spokenAt = now;
  }

  /**
   * @param {import("../moderation/room-access.js").RoomAccess} access
   * @param {number} now milliseconds since 1970
   * @returns {{why: string | null, can: boolean, until: number | null, slow?: number}} until: when that ends, as `now`
   */
  state({about, moderates}, now) {
    const {archived, closed, muted, readOnly, slow} = about;
    if (closed) return {why: closed, can: false, until: null};
    if (archived) return {why: "archived", can: false, until: null};
    if (muted === 0 || muted > now) return {why: "muted", can: false, until: muted || null};
    if (readOnly && !moderates) return {why: "read_only", can: false, until: null};
    if (this.#held && this.#held.until > now) return {...this.#held, can: true, slow};
    if (!slow || moderates) return FREE;
    const until = this.#spokenAt + 1_000 * slow;
    return until > now ? {why: "paused", can: true, until, slow} : {why: "slow", can: true, until: null, slow};
  }
}

/** Milliseconds. */
const HALF_A_DAY = 43_200_000;

/** The line above the field that says why the reader can't send, or when they can. Its countdown is visual only. */
export class SendStateView {
  #sendState = new SendState();
  #access;
  #composer;
  #box;
  #said;
  #shown;
  #ticking = null;
  #reason = null; // the reason that screen readers were last given

  /**
   * @param {object} options
   * @param {HTMLElement} options.speaking the line; data-why is the reason
   * @param {HTMLElement} options.speakingSaid a live region: it changes with the reason only
   * @param {HTMLElement} options.speakingShown hidden from screen readers
   */
  constructor({client, room, access, composer, speaking, speakingSaid, speakingShown}) {
    this.#access = access;
    this.#composer = composer;
    this.#box = speaking;
    this.#said = speakingSaid;
    this.#shown = speakingShown;
    const here = (then) => ({detail}) => detail.room === room && this.#after(() => then(detail));
    client.addEventListener("later", here((detail) => this.#sendState.later(detail, Date.now())));
    client.addEventListener("refused", here(({ref}) => this.#sendState.settled(ref)));
    client.addEventListener("sent", here(({ref}) => {
      this.#sendState.settled(ref);
      this.#sendState.spoke(Date.now());
    }));
  }

  #after(change) {
    change();
    this.draw();
  }

  draw() {
    clearTimeout(this.#ticking);
    const now = Date.now();
    const state = this.#sendState.state(this.#access, now);
    const seconds = state.until === null ? 0 : Math.ceil((state.until - now) / 1_000);
    this.#write(state, speakingWords({...state, seconds, time: timeOf(state.until, now)}));
    this.#composer.enabled = state.can;
    if (state.until !== null) this.#ticking = setTimeout(() => this.draw(), Math.min(1_000, state.until - now + 20));
  }

  #write({why, until, slow, can}, [said, shown]) {
    this.#box.hidden = why === null;
    this.#box.dataset.why = why ?? "";
    write(this.#shown, shown);
    const reason = JSON.stringify([why, can ? slow : until]);
    if (reason !== this.#reason) write(this.#said, said);
    this.#reason = reason;
  }
}

function timeOf(until, now) {
  if (until === null) return "";
  return until - now < HALF_A_DAY ? clockTime(until) : shortTime(until);
}
