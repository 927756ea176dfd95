import {elements, write} from "../shell/dom.js";
import {errorWords, words} from "../shell/words.js";

/** Pixels from either end of the shown messages within which more are fetched. */
const NEAR = 400;

/** Moves the reader: to a distant message, on from there, and to the live end. */
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

  /** Fetch more messages if the reader is near an end of the shown ones. */
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

/** The controls at the two ends of the log: load more, go to the first new message, go to the newest. */
export class LogEdges {
  #log;
  #elements;
  #passed = null; // position of the line "new" that the reader has seen or ignores

  /**
   * @param {object} options
   * @param {import("./log-view.js").LogView} options.log
   * @param {HTMLElement} options.pane the log, which takes the focus of a button that goes
   * @param {{older, newer, jump, firstNew: () => void}} options.on
   */
  constructor({log, pane, on}) {
    this.#log = log;
    this.#elements = {
      pane,
      ...elements("older", "olderFailed", "newer", "newerBox", "newerFailed", "empty"),
      ...elements("jump", "jumpCount", "firstNew", "firstNewCount"),
    };
    for (const name of ["older", "newer", "jump", "firstNew"]) this.#elements[name].addEventListener("click", on[name]);
  }

  /** @param {{timeline, history, attention, line: number | null}} state */
  draw({timeline, history, notifications, line}) {
    const {older, olderFailed, newerFailed, empty, jumpCount, newerBox, jump} = this.#elements;
    this.#hide(older, !(history.begun ? timeline.shown.before : history.failed));
    this.#hide(newerBox, timeline.window === null);
    this.#hide(jump, this.#log.following);
    write(jumpCount, notifications.below ? words.newMessages(notifications.below) : words.latest);
    write(olderFailed, history.failed && history.failed !== "newer" ? words.olderFailed : "");
    write(newerFailed, history.failed === "newer" ? words.newerFailed : "");
    empty.hidden = !history.begun || timeline.shown.length + timeline.pending.length > 0;
    this.#drawFirstNew(timeline, line);
  }

  /** The button to the first new message, until the reader has seen the line "new". */
  #drawFirstNew({live, shown}, line) {
    const {firstNew, firstNewCount} = this.#elements;
    const where = this.#log.whereIs("unread");
    if (where === "here" || where === "below") this.#passed = line;
    const fresh = line === null || line === this.#passed ? [] : live.messages.filter(isNew(line));
    const all = !live.before || live.oldest <= line;
    this.#hide(firstNew, fresh.length === 0 || shown !== live || (all && where !== "above"));
    write(firstNewCount, words.firstNew(fresh.length, !all));
  }

  /** The buttons are never disabled: one that has nothing to do yet keeps the focus for the next press. */
  #hide(element, hidden) {
    if (hidden && element.contains(document.activeElement)) this.#elements.pane.focus({preventScroll: true});
    element.hidden = hidden;
  }
}

function isNew(line) {
  return ({id, own, deleted}) => id > line && !own && !deleted;
}
