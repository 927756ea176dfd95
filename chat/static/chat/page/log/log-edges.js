import {write} from "../shell/dom.js";
import {words} from "../shell/words.js";

/** What stands at the two ends of the log: buttons for more of it, for the first new message and for the newest. */
export class LogEdges {
  #log;
  #elements;
  #passed = null; // the line "new" that the reader has seen, or does not care for

  /**
   * @param {object} options
   * @param {import("./log-view.js").LogView} options.log
   * @param {object} options.elements pane, older, olderFailed, newer, newerBox, newerFailed, empty, jump, jumpCount,
   *   firstNew, firstNewCount
   * @param {{older, newer, jump, firstNew: () => void}} options.on
   */
  constructor({log, elements, on}) {
    this.#log = log;
    this.#elements = elements;
    for (const name of ["older", "newer", "jump", "firstNew"]) elements[name].addEventListener("click", on[name]);
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
    empty.hidden = !history.begun || timeline.messages.length + timeline.pending.length > 0;
    this.#drawFirstNew(timeline, line);
  }

  /** The way up to what is new, while the reader has not seen where it begins. */
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
