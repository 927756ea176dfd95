/**
 * The reader's read position, and the line "new". Pure.
 *
 * Positions are numbers of the room's log. `line` is the position of the line "new": it stays while the reader
 * reads, and moves when they look away, so that it marks the messages that arrive meanwhile.
 */
export class ReadMark {
  line;
  #read; // null: unknown

  /** @param {number | null} read the read position of earlier visits */
  constructor(read = null) {
    this.#read = read;
    this.line = read;
  }

  get read() {
    return this.#read;
  }

  /** The reader saw everything up to here. Returns whether the position moved. */
  saw(seq) {
    if (seq <= (this.#read ?? 0)) return false;
    this.#read = seq;
    return true;
  }

  /** The reader looks away. */
  lookedAway() {
    this.line = this.#read ?? 0;
  }

  /** The same user read this far elsewhere; away: this page is hidden. */
  readElsewhere(seq, {away}) {
    this.saw(seq);
    if (away) this.lookedAway();
  }

  /** No message is new any more: the reader has sent one. */
  clearLine() {
    this.line = null;
  }

  /** The log has a new epoch. */
  reset() {
    this.line = null;
    this.#read = null;
  }
}

/** The position that the reader has really seen: the newest message, at the end of the log, in a visible tab. */
export class ReadPosition {
  #mark;
  #timeline;
  #log;
  #notifications;
  #tell;

  /**
   * @param {object} options
   * @param {number | null} options.read the user's read position when the page was made
   * @param {(seq: number) => void} options.tell send it to the server
   */
  constructor({read, timeline, log, notifications, tell}) {
    this.#mark = new ReadMark(read);
    this.#timeline = timeline;
    this.#log = log;
    this.#notifications = notifications;
    this.#tell = tell;
  }

  /** Messages after this number are new; null: none is. */
  get line() {
    return this.#mark.line;
  }

  /** Follow whether the reader looks at this page, and what they read on others. */
  watch(client, onChange) {
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) {
        this.#mark.lookedAway();
        client.tellNow(); // the tab may never be looked at again
      } else this.#notifications.looked();
      onChange();
    });
    // `beforeunload` comes before the next page is asked for, which may show how much is unread. Not all browsers have it.
    for (const type of ["beforeunload", "pagehide"]) window.addEventListener(type, () => client.tellNow());
    client.addEventListener("read", ({detail}) => {
      this.readElsewhere(detail.seq);
      onChange();
    });
  }

  /** The log was drawn, or became visible. */
  see() {
    if (document.hidden || !this.#log.following) return;
    if (this.#mark.saw(this.#timeline.newest)) this.#tell(this.#timeline.newest);
    this.#notifications.looked();
  }

  /** The same user has read up to here on another page. */
  readElsewhere(seq) {
    this.#mark.readElsewhere(seq, {away: document.hidden});
    this.#notifications.read(seq);
  }

  /** The reader sent a message, so they have read the others. */
  answered() {
    this.#mark.clearLine();
  }

  /** The log has a new epoch. */
  reset() {
    this.#mark.reset();
    this.#notifications.reset();
  }
}
