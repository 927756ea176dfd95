import {Announcing} from "./announcing.js";
import {words} from "./words.js";

/** Milliseconds that the log stays hushed after the last thing that should not be read out. */
const HUSH = 1_000;

/**
 * What the reader has not seen yet, and how the page says so: the count in the title while the tab is hidden,
 * the button while the reader is further up, and the live log.
 */
export class Attention {
  #log;
  #announcement;
  #announcing = new Announcing();
  #title = document.title;
  #unread = 0; // came while the tab was hidden
  #below = 0; // came below the reader's place
  #hushed = null;

  /** @param {{log: HTMLElement, announcement: HTMLElement}} elements the live log, and a live region for sentences */
  constructor({log, announcement}) {
    this.#log = log;
    this.#announcement = announcement;
  }

  /** How many messages came below the reader's place. */
  get below() {
    return this.#below;
  }

  get unread() {
    return this.#unread;
  }

  /** A message of somebody else came. */
  came({following}) {
    if (document.hidden) this.#unread += 1;
    if (!following) this.#below += 1;
    if (!this.#announcing.readsOut(1, performance.now())) this.hush();
    this.#draw();
  }

  atEnd() {
    this.#below = 0;
  }

  looked() {
    this.#unread = 0;
    this.#draw();
  }

  say(sentence) {
    this.#announcement.textContent = sentence;
  }

  /** Silence the live log while much is put into it; then say how many messages were new. */
  hush() {
    clearTimeout(this.#hushed);
    this.#log.setAttribute("aria-live", "off");
    this.#hushed = setTimeout(() => {
      const count = this.#announcing.summary();
      if (count) this.say(words.newMessages(count));
      this.#log.setAttribute("aria-live", "polite");
    }, HUSH);
  }

  #draw() {
    document.title = this.#unread ? `(${this.#unread}) ${this.#title}` : this.#title;
  }
}
