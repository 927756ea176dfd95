/** A timeline as the rows of a list. Pure: the same timeline gives the same rows. */

/** Milliseconds within which one author's messages stand together under one name. */
const TOGETHER = 5 * 60_000;

/**
 * @param {import("./timeline.js").Timeline} timeline
 * @param {(timestamp: number) => string} [dayOf] names the reader's day of a time
 * @returns {Array<object>} each with `key` (names the row), `version` (changes when it must be drawn anew) and
 *   `kind`: "day" {timestamp}; "unread"; "notice" {joined, left}; "message" {message, own, continued};
 *   "pending" {entry, continued}
 */
export function rowsOf(timeline, dayOf = localDay) {
  const rows = [];
  const notices = timeline.notices.filter(({joined, left}) => joined.length || left.length);
  let nextNotice = 0;
  let previous = null; // the message above, unless something stands between
  let day = null;
  let marked = timeline.readUpTo === null;

  const notesUpTo = (id) => {
    for (; nextNotice < notices.length && notices[nextNotice].after < id; nextNotice += 1) {
      rows.push(noticeRow(notices[nextNotice]));
      previous = null;
    }
  };

  for (const message of timeline.messages) {
    notesUpTo(message.id);
    const own = message.username === timeline.me;
    const itsDay = dayOf(message.timestamp);
    if (itsDay !== day) {
      rows.push({kind: "day", key: `day ${itsDay}`, version: "", timestamp: message.timestamp});
      day = itsDay;
      previous = null;
    }
    if (!marked && !own && message.id > timeline.readUpTo) {
      rows.push({kind: "unread", key: "unread", version: ""});
      marked = true;
      previous = null;
    }
    rows.push(messageRow(message, own, isContinued(previous, message)));
    previous = message;
  }
  notesUpTo(Infinity);
  for (const entry of timeline.pending) {
    const said = {username: timeline.me, timestamp: entry.at};
    rows.push(pendingRow(entry, isContinued(previous, said)));
    previous = said;
  }
  return rows;
}

function isContinued(previous, message) {
  return previous?.username === message.username && Math.abs(message.timestamp - previous.timestamp) < TOGETHER;
}

function messageRow(message, own, continued) {
  return {
    kind: "message",
    key: message.ref ? `ref ${message.ref}` : `id ${message.id}`,
    version: `${message.seq} ${continued} ${own}`,
    message,
    own,
    continued,
  };
}

function pendingRow(entry, continued) {
  return {
    kind: "pending",
    key: `ref ${entry.ref}`,
    version: `${entry.failed ?? ""} ${continued}`,
    entry,
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
