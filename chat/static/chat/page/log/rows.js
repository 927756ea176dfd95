/** A timeline as the rows of a list. Pure: the same timeline gives the same rows. */

/** Milliseconds within which one author's messages stand together under one name. */
const TOGETHER = 5 * 60_000;

/**
 * @param {import("./timeline.js").Timeline} timeline
 * @param {object} [options]
 * @param {(timestamp: number) => string} [options.dayOf] the reader's calendar day of a time
 * @param {(id: number) => object} [options.quoteOf] the quote of a message, by its id (history.js)
 * @param {number | null} [options.line] messages after this id are new; null: no line "new"
 * @param {number | null} [options.marked] id of the message that is being edited or replied to
 * @returns {Array<object>} each with `key` (identifies the row), `version` (changes when it must be redrawn) and
 *   `kind`: "day" {timestamp}; "unread"; "notice" {joined, left}; "message" {message, quote, own, continued, marked};
 *   "pending" {entry, quote, continued}
 */
export function rowsOf(timeline, {dayOf = localDay, quoteOf = () => null, line = null, marked = null} = {}) {
  const layout = new Layout(timeline, {dayOf, quoteOf, line, marked});
  for (const message of timeline.messages) layout.message(timeline.state(message));
  if (!timeline.window) layout.notesUpTo(Infinity);
  for (const entry of timeline.pending) layout.pending(entry);
  return layout.rows;
}

class Layout {
  rows = [];
  #author;
  #dayOf;
  #quoteOf;
  #marked;
  #notices;
  #nextNotice = 0;
  #previous = null; // the message above, or null if another row is between
  #day = null;
  #lineAt; // id after which the line "new" comes; null: it is placed, or there is none

  constructor(timeline, {dayOf, quoteOf, line, marked}) {
    this.#author = timeline.author;
    this.#dayOf = dayOf;
    this.#quoteOf = (id) => (id === undefined ? null : quoteOf(id));
    this.#marked = marked;
    this.#notices = timeline.notices.filter(({after}) => after >= (timeline.shown.oldest ?? 0));
    // If older messages are not loaded, the first new one may be among those.
    this.#lineAt = !timeline.shown.before || timeline.shown.oldest <= line ? line : null;
  }

  message(message) {
    this.notesUpTo(message.id);
    this.#dayLine(message.timestamp);
    this.#unreadLine(message);
    const quote = message.deleted ? null : this.#quoteOf(message.replyTo);
    this.#add(messageRow(message, {...this.#shared(message, quote), marked: message.id === this.#marked}), message);
  }

  pending(entry) {
    const said = {...this.#author, own: true, timestamp: entry.at};
    const quote = this.#quoteOf(entry.replyTo);
    this.#add(pendingRow(entry, this.#shared(said, quote)), said);
  }

  notesUpTo(id) {
    for (; this.#notices[this.#nextNotice]?.after < id; this.#nextNotice += 1) {
      this.#add(noticeRow(this.#notices[this.#nextNotice]), null);
    }
  }

  #shared(said, quote) {
    // A reply shows its quote and its author.
    return {own: said.own, quote, continued: !quote && isContinued(this.#previous, said)};
  }

  #dayLine(timestamp) {
    const day = this.#dayOf(timestamp);
    if (day === this.#day) return;
    this.#day = day;
    this.#add({kind: "day", key: `day ${day}`, version: "", timestamp}, null);
  }

  #unreadLine({id, own, deleted}) {
    if (this.#lineAt === null || own || deleted || id <= this.#lineAt) return;
    this.#lineAt = null;
    this.#add({kind: "unread", key: "unread", version: ""}, null);
  }

  #add(row, previous) {
    this.rows.push(row);
    this.#previous = previous;
  }
}

function isContinued(previous, message) {
  const together = previous && Math.abs(message.timestamp - previous.timestamp) < TOGETHER;
  return Boolean(together) && heading(previous) === heading(message);
}

/** The heading of a message: two users may have had one name, and one user may get another. */
function heading({by = null, username}) {
  return JSON.stringify([by, username]);
}

function messageRow(message, shown) {
  const {own, quote, continued, marked} = shown;
  return {
    kind: "message",
    key: message.ref ? `ref ${message.ref}` : `id ${message.id}`,
    version: [message.seq, own, continued, marked, quote?.version, message.version].join(" "),
    message,
    ...shown,
  };
}

function pendingRow(entry, {quote, continued}) {
  return {
    kind: "pending",
    key: `ref ${entry.ref}`,
    version: [continued, quote?.version, entry.failed, entry.held].join(" "),
    entry,
    quote,
    continued,
  };
}

function noticeRow({after, joined, left}) {
  // A run can hold thousands of names; the sentence shows the first few and how many there are.
  const version = JSON.stringify([joined.slice(0, 3), joined.length, left.slice(0, 3), left.length]);
  return {kind: "notice", key: `notice ${after}`, version, joined: [...joined], left: [...left]};
}

function localDay(timestamp) {
  const date = new Date(timestamp);
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}
