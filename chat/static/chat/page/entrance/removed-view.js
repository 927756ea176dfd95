import {make, write} from "../shell/dom.js";
import {roomWords} from "../shell/room-words.js";

/** What stands in the place of the field when the reader is out of the room: why, and what can be done. */
export class RemovedView {
  #page;
  #box;
  #title;
  #hint;
  #actions;
  #links;
  #ticking = null;

  /**
   * @param {object} options
   * @param {HTMLElement} options.page data-out says that one is out, data-concealed that nothing may be seen
   * @param {{index: string, signIn: string}} options.links
   */
  constructor({page, out, outTitle, outHint, outActions, links}) {
    this.#page = page;
    this.#box = out;
    this.#title = outTitle;
    this.#hint = outHint;
    this.#actions = outActions;
    this.#links = links;
  }

  get shown() {
    return !this.#box.hidden;
  }

  /** @param {{code: string, message: string, retryAfter?: number}} frame; `comeBack` is called by a button */
  removed({code, message, retryAfter}, comeBack) {
    const forNow = retryAfter !== undefined;
    const title = code === "banned" && forNow ? roomWords.outForNow : (roomWords.out[code] ?? message);
    if (code === "sign_in") this.#show(title, "", this.#link(roomWords.signIn, this.#links.signIn));
    else if (code === "no_room" || (code === "banned" && !forNow)) this.#show(title, "", this.#elsewhere());
    else this.#offer(title, retryAfter ?? 0, comeBack);
  }

  signedOut() {
    const {signedOut, signedOutHint, signIn} = roomWords;
    this.#show(signedOut, signedOutHint, this.#link(signIn, this.#links.signIn));
  }

  /** A guest's name is not known any more. */
  unnamed() {
    this.#show(roomWords.unnamed, "", this.#link(roomWords.chooseName, this.#links.index));
  }

  somebodyElse(name) {
    const reload = make("button", {type: "button", className: "primary"}, roomWords.reload);
    reload.addEventListener("click", () => location.reload());
    this.#show(roomWords.somebodyElse(name), roomWords.somebodyElseHint, reload);
  }

  /** @returns {boolean} whether it had the focus */
  hide() {
    clearInterval(this.#ticking);
    const focused = this.#box.contains(document.activeElement);
    this.#box.hidden = true;
    delete this.#page.dataset.out;
    delete this.#page.dataset.concealed;
    return focused;
  }

  /** A button, once the time has come. */
  #offer(title, retryAfter, comeBack) {
    const button = make("button", {type: "button", className: "primary"}, roomWords.comeBack);
    button.addEventListener("click", comeBack);
    this.#show(title, "", button);
    const at = performance.now() + retryAfter;
    const tick = () => {
      const seconds = Math.ceil((at - performance.now()) / 1_000);
      button.disabled = seconds > 0;
      write(this.#hint, seconds > 0 ? roomWords.comeBackIn(seconds) : "");
      if (seconds <= 0) clearInterval(this.#ticking);
    };
    this.#ticking = setInterval(tick, 1_000);
    tick();
  }

  #elsewhere() {
    return this.#link(roomWords.otherRoom, this.#links.index);
  }

  #link(words, href) {
    return make("a", {href, className: "primary"}, words);
  }

  #show(title, hint, ...actions) {
    clearInterval(this.#ticking);
    this.#page.dataset.out = "";
    this.#box.hidden = false;
    write(this.#title, title);
    write(this.#hint, hint);
    this.#actions.replaceChildren(...actions);
    // What had the focus may be hidden now.
    if (!document.activeElement?.closest(".room-head")) this.#box.focus({preventScroll: true});
  }
}
