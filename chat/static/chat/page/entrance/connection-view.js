import {write} from "../shell/dom.js";
import {connectionWords} from "../shell/words.js";

/** The connection's state in words, with a countdown while it waits and a button to try at once. */
export class ConnectionView {
  #box;
  #said;
  #shown;
  #button;
  #ticking = null;
  #detail = {state: "connecting"};
  #late = false;

  /**
   * @param {object} options
   * @param {HTMLElement} options.box carries the state as data-state
   * @param {HTMLElement} options.said a live region: it changes with the state only, never with the countdown
   * @param {HTMLElement} options.shown the countdown, hidden from screen readers
   * @param {HTMLButtonElement} options.button
   * @param {() => void} options.onTry
   */
  constructor({box, said, shown, button, onTry}) {
    this.#box = box;
    this.#said = said;
    this.#shown = shown;
    this.#button = button;
    button.addEventListener("click", onTry);
  }

  /** @param {{state, retryIn?, code?, reason?}} detail of the client's `state` event */
  draw(detail) {
    // Whether others may be late is a server's to say; the next one says it after its welcome.
    if (detail.state !== "open") this.#late = false;
    this.#detail = detail;
    this.#draw();
  }

  /** The server is cut off from the others, or not any more: what people say there may come late. */
  late(late) {
    this.#late = late;
    this.#draw();
  }

  #draw() {
    const detail = this.#late ? {...this.#detail, state: "late"} : this.#detail;
    clearInterval(this.#ticking);
    this.#box.dataset.state = detail.state;
    this.#button.hidden = !["waiting", "offline", "closed"].includes(detail.state);
    const until = performance.now() + (detail.retryIn ?? 0);
    const tick = () => this.#write(connectionWords(detail, Math.ceil((until - performance.now()) / 1000)));
    tick();
    if (detail.state === "waiting") this.#ticking = setInterval(tick, 1000);
  }

  #write([said, shown]) {
    write(this.#said, said);
    write(this.#shown, shown);
  }
}
