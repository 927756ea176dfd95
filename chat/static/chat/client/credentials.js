import {Backoff} from "./backoff.js";

/** Milliseconds between attempts to get a token, if the page's function fails. */
const AGAIN = {base: 1_000, cap: 30_000};

/**
 * The token of a page that authenticates by token: requested for each connection, and when the server says that the
 * current one expires soon.
 */
export class Credentials {
  current; // the latest token, undefined where there are none
  #token;
  #clock;
  #backoff;
  #turn = 0; // a token requested before a loss is ignored after it
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

  /** Get a token, retrying until the connection is lost; then call `then`. Without tokens, call it at once. */
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

  /** A token, or null if the page can't give one now. */
  async #ask() {
    try {
      return (await this.#token()) ?? null;
    } catch {
      return null;
    }
  }
}
