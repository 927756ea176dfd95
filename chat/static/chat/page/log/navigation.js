import {errorWords, words} from "../shell/words.js";

/** Pixels from either end of what is shown at which more is fetched without being asked for. */
const NEAR = 400;

/** Where the reader is in the room: the way to a message far back, on from there, and to the live end again. */
export class Navigation {
  #history;
  #timeline;
  #log;
  #notifications;
  #draw;

  /** @param {{history, timeline, log, attention, draw: () => void}} options draw: at once */
  constructor({history, timeline, log, notifications, draw}) {
    this.#history = history;
    this.#timeline = timeline;
    this.#log = log;
    this.#notifications = notifications;
    this.#draw = draw;
  }

  /** To a message, wherever it is. */
  to(id) {
    return this.#go(() => this.#history.goTo(id));
  }

  /** To the first message after a position of the log. */
  async toFirstAfter(position) {
    const {live, shown} = this.#timeline;
    const first = live.messages.find((message) => message.id > position);
    const known = first && (live.oldest <= position || !live.before);
    await (known && shown === live ? this.to(first.id) : this.#go(() => this.#history.goAfter(position)));
  }

  toLive() {
    if (this.#timeline.window) this.#notifications.hush();
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

  async #go(find) {
    try {
      const id = await find();
      if (id !== undefined) this.#show(id);
    } catch (error) {
      this.#notifications.tell(error.code === "disconnected" ? words.noConnection : errorWords(error));
    }
  }

  #show(id) {
    this.#draw();
    if (id === null) this.#notifications.tell(words.gone);
    else this.#log.reveal(this.#log.nodeOf(id));
  }
}
