import {Backoff} from "../../client/backoff.js";
import {systemClock} from "../../client/clock.js";

/** Milliseconds before the question: the browser may just be getting a new cookie. */
const PATIENCE = 1_500;
/** Milliseconds between further questions: one that failed, or a server that closes again and again. */
const AGAIN = {base: 2_000, cap: 30_000};

/** Whether the reader is still who they were, when the server says that their sign-in has ended. */
export class SignInCheck {
  #url;
  #you;
  #on;
  #fetch;
  #clock;
  #backoff;
  #timer = null;
  #asked = false; // since the reader was last in a room

  /**
   * @param {object} options
   * @param {string} options.url answers {username, account, you}
   * @param {string} options.you the reader's key
   * @param {object} options.on {same(), other({username, account, you}): username null: nobody}
   */
  constructor({url, you, on, fetch = globalThis.fetch.bind(globalThis), clock = systemClock, random = Math.random}) {
    this.#url = url;
    this.#you = you;
    this.#on = on;
    this.#fetch = fetch;
    this.#clock = clock;
    this.#backoff = new Backoff({random, ...AGAIN});
  }

  /** The server closed the socket with 4401, or the browser has somebody else now. One may be a sign of the other. */
  check() {
    if (this.#timer !== null) return; // it is asked soon anyway
    const delay = PATIENCE + (this.#asked ? this.#backoff.next() : 0);
    this.#asked = true;
    this.#timer = this.#clock.setTimeout(() => this.#ask(), delay);
  }

  /** The reader is in the room. */
  settled() {
    this.#asked = false;
    this.#backoff.reset();
  }

  async #ask() {
    this.#timer = null;
    const who = await this.#whoIsIt();
    if (who === null) this.check();
    else if (who.you === this.#you) this.#on.same();
    else this.#on.other(who);
  }

  /** Null where it can't be told. */
  async #whoIsIt() {
    try {
      const response = await this.#fetch(this.#url, {cache: "no-store", credentials: "same-origin"});
      const who = response.ok ? await response.json() : null;
      return who?.you === undefined ? null : who; // a server of the version before does not tell
    } catch {
      return null;
    }
  }
}
