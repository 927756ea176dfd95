import {words} from "../shell/words.js";

/*
 * Limits the announcements of new messages, so that they don't flood a screen reader. The live log reads out a few; when
 * too many arrive, the log is silenced and a count is announced instead. Pure: time is passed in.
 */

/** At most READ_OUT messages are read out in SPAN milliseconds. */
const SPAN = 4_000;
const READ_OUT = 3;

export class AnnouncementLimit {
  #times = []; // times of the messages that were read out lately
  #unsaid = 0;

  /** @returns {boolean} whether `count` messages, shown now, are read out; otherwise they count for `summary` */
  readsOut(count, now) {
    this.#times = this.#times.filter((time) => now - time < SPAN);
    if (this.#unsaid === 0 && this.#times.length + count <= READ_OUT) {
      for (let i = 0; i < count; i += 1) this.#times.push(now);
      return true;
    }
    this.#unsaid += count;
    return false;
  }

  /** How many messages were not read out since the last call. */
  summary() {
    const count = this.#unsaid;
    this.#unsaid = 0;
    return count;
  }
}

/** Milliseconds that the log stays silent after the last change that should not be read out. */
const HUSH = 1_000;
/** Milliseconds that a sentence stays visible, besides the time to read it. */
const TOLD = 4_000;

/**
 * The unread messages, and how the page shows them: the count in the title while the tab is hidden,
 * the button while the reader is further up, and the live log.
 */
export class Notifications {
  #log;
  #announcement;
  #toast;
  #announcements = new AnnouncementLimit();
  #title = document.title;
  #unread = []; // ids of messages that arrived while the tab was hidden
  #below = []; // ids of messages that arrived below the reader's place
  #hushed = null;
  #told = null;

  /**
   * @param {{log, announcement, toast: HTMLElement}} elements the live log, a live region for sentences, and a
   *   visible one
   */
  constructor({log, announcement, toast}) {
    this.#log = log;
    this.#announcement = announcement;
    this.#toast = toast;
  }

  /** The room has a new title. */
  rename(title) {
    const [, rest = ""] = this.#title.match(/( · [^·]*)$/u) ?? [];
    this.#title = `${title}${rest}`;
    this.#draw();
  }

  /** Number of messages that arrived below the reader's place. */
  get below() {
    return this.#below.length;
  }

  /** A message of another user arrived. */
  came({id, following}) {
    if (document.hidden) this.#unread.push(id);
    if (!following) this.#below.push(id);
    if (!this.#announcements.readsOut(1, performance.now())) this.hush();
    this.#draw();
  }

  atEnd() {
    this.#below = [];
  }

  looked() {
    this.#unread = [];
    this.#draw();
  }

  /** A message was deleted or hidden: it is not unread any more. */
  gone(id) {
    this.#unread = this.#unread.filter((each) => each !== id);
    this.#below = this.#below.filter((each) => each !== id);
    this.#draw();
  }

  /** Everything up to here was read, on this page or on another. */
  read(seq) {
    this.#unread = this.#unread.filter((id) => id > seq);
    this.#below = this.#below.filter((id) => id > seq);
    this.#draw();
  }

  reset() {
    this.atEnd();
    this.looked();
  }

  /** For screen readers. */
  say(sentence) {
    this.#announcement.textContent = sentence;
  }

  /** For everybody, for a while. */
  tell(sentence) {
    clearTimeout(this.#told);
    this.#toast.textContent = sentence;
    this.#told = setTimeout(() => (this.#toast.textContent = ""), TOLD + 50 * sentence.length);
  }

  /** Silence the live log while much is put into it; then say how many messages were new. */
  hush() {
    clearTimeout(this.#hushed);
    this.#log.setAttribute("aria-live", "off");
    this.#hushed = setTimeout(() => {
      const count = this.#announcements.summary();
      if (count) this.say(words.newMessages(count));
      this.#log.setAttribute("aria-live", "polite");
    }, HUSH);
  }

  #draw() {
    const {length} = this.#unread;
    document.title = length ? `(${length}) ${this.#title}` : this.#title;
  }
}
