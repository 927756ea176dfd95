/**
 * How far the reader has read, and from where on messages are new to them. Pure.
 *
 * Positions are numbers of the room's log. `line` is where the line "new" stands: it stays where it is while the
 * reader reads, and moves when they look away, so that it shows what came meanwhile.
 */
export class ReadMark {
  line;
  #read; // null: nothing is known

  /** @param {number | null} read what was kept of earlier visits */
  constructor(read = null) {
    this.#read = read;
    this.line = read;
  }

  get read() {
    return this.#read;
  }

  /** The reader saw everything up to here. Returns whether that is news. */
  saw(seq) {
    if (seq <= (this.#read ?? 0)) return false;
    this.#read = seq;
    return true;
  }

  /** The reader looks away. */
  lookedAway() {
    this.line = this.#read ?? 0;
  }

  /** Read elsewhere, by the same person; `away` tells whether they don't look at this page. */
  readElsewhere(seq, {away}) {
    this.saw(seq);
    if (away) this.lookedAway();
  }

  /** Nothing is new any more: who answers has read. */
  clearLine() {
    this.line = null;
  }

  /** The log is of another life. */
  reset() {
    this.line = null;
    this.#read = null;
  }
}

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

  /** Something was drawn, or is looked at now. */
  see() {
    if (document.hidden || !this.#log.following) return;
    if (this.#mark.saw(this.#timeline.newest)) this.#tell(this.#timeline.newest);
    this.#notifications.looked();
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
