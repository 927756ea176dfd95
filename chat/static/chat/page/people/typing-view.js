import {sentence} from "../shell/dom.js";
import {TypingPeople} from "./typing.js";
import {typingWords} from "../shell/words.js";

/** The line that says who is typing. It empties itself. */
export class TypingView {
  #line;
  #people = new TypingPeople();
  #timer = null;

  /** @param {HTMLElement} line */
  constructor(line) {
    this.#line = line;
  }

  typed(name) {
    this.#people.typed(name, performance.now());
    this.#draw();
  }

  stopped(name) {
    this.#people.stopped(name);
    this.#draw();
  }

  #draw() {
    clearTimeout(this.#timer);
    const now = performance.now();
    this.#line.replaceChildren(...sentence(typingWords(this.#people.names(now))));
    const {nextChange} = this.#people;
    if (nextChange !== null) this.#timer = setTimeout(() => this.#draw(), nextChange - now);
  }
}
