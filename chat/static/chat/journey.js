import {errorWords, words} from "./words.js";

/** Pixels from either end of what is shown at which more is fetched without being asked for. */
const NEAR = 400;

/** Where the reader is in the room: the way to a message far back, on from there, and to the live end again. */
export class Journey {
  #history;
  #timeline;
  #log;
  #attention;
  #draw;

  /** @param {{history, timeline, log, attention, draw: () => void}} options draw: at once */
  constructor({history, timeline, log, attention, draw}) {
    this.#history = history;
    this.#timeline = timeline;
    this.#log = log;
    this.#attention = attention;
    this.#draw = draw;
  }

  /** To a message, wherever it is. Returns whether it was found. */
  to(id) {
    return this.#go(() => this.#history.goTo(id), words.gone);
  }

  /** To the first message after a position of the log. */
  async toFirstAfter(position) {
    const {live, shown} = this.#timeline;
    const first = live.messages.find((message) => message.id > position);
    const known = first && (live.oldest <= position || !live.before);
    if (known && shown === live) return this.to(first.id);
    return this.#go(() => this.#history.goAfter(position), words.gone);
  }

  toLive() {
    if (this.#timeline.window) this.#attention.hush();
    this.#history.leave();
    this.#draw();
    this.#log.follow();
  }

  /** Fetch what comes next where the reader is near an end of what is here. */
  extend() {
    const {failed, loading} = this.#history;
    if (failed || loading) return;
    const {above, below} = this.#log.margins;
    if (above < NEAR && this.#timeline.shown.before) this.#history.older();
    else if (below < NEAR && this.#timeline.window) this.#history.newer();
  }

  async #go(find, otherwise) {
    try {
      const id = await find();
      if (id === undefined) return false;
      this.#draw();
      const node = id === null ? null : this.#log.nodeOf(id);
      if (node) this.#log.reveal(node);
      else this.#attention.tell(otherwise);
      return node !== null;
    } catch (error) {
      this.#attention.tell(error.code === "disconnected" ? words.noConnection : errorWords(error));
      return false;
    }
  }
}
