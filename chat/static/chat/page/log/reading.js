import {ReadMark} from "./read-mark.js";

/** What the reader has really seen: the newest message at the end of the log, in a tab that is looked at. */
export class ReadPosition {
  #mark;
  #timeline;
  #log;
  #notifications;
  #tell;

  /**
   * @param {object} options
   * @param {number | null} options.read up to where this person had read when the page was made
   * @param {(seq: number) => void} options.tell the server
   */
  constructor({read, timeline, log, notifications, tell}) {
    this.#mark = new ReadMark(read);
    this.#timeline = timeline;
    this.#log = log;
    this.#notifications = notifications;
    this.#tell = tell;
  }

  /** What is after this number is new; null: nothing is. */
  get line() {
    return this.#mark.line;
  }

  /** Something was drawn, or is looked at now. */
  see() {
    if (document.hidden || !this.#log.following) return;
    if (this.#mark.saw(this.#timeline.newest)) this.#tell(this.#timeline.newest);
    this.#notifications.looked();
  }

  lookAway() {
    this.#mark.lookedAway();
  }

  /** The same person has read up to here on another page. */
  readElsewhere(seq) {
    this.#mark.readElsewhere(seq, {away: document.hidden});
    this.#notifications.read(seq);
  }

  /** Who answers has read. */
  answered() {
    this.#mark.clearLine();
  }

  /** The log is of another life. */
  reset() {
    this.#mark.reset();
    this.#notifications.reset();
  }
}
