import {Backoff} from "./backoff.js";

/** Milliseconds between tries to get a token, when the page that has them fails. */
const AGAIN = {base: 1_000, cap: 30_000};

/**
 * The token of a page that has its own: asked for anew for each connection, and when the server says that the one it
 * was shown expires soon.
 */
export class Credentials {
  current; // the latest token, undefined where there are none
  #token;
  #clock;
  #backoff;
  #turn = 0; // what was asked for before a loss is of no use after it
  #again = null;

  /** @param {{token?: () => Promise<string>, clock, random}} options without `token` there is nothing to wait for */
  constructor({token, clock, random}) {
    this.#token = token;
    this.#clock = clock;
    this.#backoff = new Backoff({random, ...AGAIN});
  }

  get given() {
    return this.#token !== undefined;
  }

  /** Get a token, however often it takes until the link is lost; then call `then`. Without tokens, at once. */
  async renew(then) {
    this.lost();
    const turn = this.#turn;
    const token = this.given ? await this.#ask() : undefined;
    if (turn !== this.#turn) return;
    if (token === null) {
      this.#again = this.#clock.setTimeout(() => this.renew(then), this.#backoff.next());
      return;
    }
    this.#backoff.reset();
    this.current = token;
    then();
  }

  /** The link is gone. */
  lost() {
    this.#turn += 1;
    this.#clock.clearTimeout(this.#again);
  }

  /** A token; null where there is none just now. */
  async #ask() {
    try {
      return (await this.#token()) ?? null;
    } catch {
      return null;
    }
  }
}
