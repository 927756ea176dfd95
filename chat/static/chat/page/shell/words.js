/**
 * The texts and times that the room's script shows. A sentence with names is a list of parts, strings and {name}: users
 * choose their names, which may be right-to-left, so each is drawn in a <bdi>.
 */

import {CLOSE, ERROR} from "../../client/protocol.js";

const CLOSED = new Map([
  [CLOSE.BAD_INPUT, "the server could not understand this page. Reload it."],
  [CLOSE.FORBIDDEN, "you were disconnected by the staff."],
]);

/** A name in a text without elements (a tooltip, a label): U+2068 and U+2069 do there what <bdi> does. */
export const alone = (name) => `\u2068${name}\u2069`;

export const words = {
  sending: "sending…",
  waiting: "waiting for connection",
  notSent: (reason) => `Not sent. ${reason}`,
  retry: "Retry",
  reword: "Edit",
  discard: "Discard",
  slow: "waiting: slow mode",
  held: "waiting",
  unread: "New since you left",
  newMessages: (count) => (count === 1 ? "1 new message" : `${count} new messages`),
  latest: "Latest messages",
  left: (count) => `${count} characters left`,
  over: (count) => `${count} characters too many`,
  here: (count) => `${count} here`,
  more: (count) => `and ${count} more`,
  you: "you",
  bot: "bot",
  olderFailed: "Older messages could not be loaded.",
  newerFailed: "Newer messages could not be loaded.",

  deleted: "This message was deleted.",
  edited: "edited",
  saving: "saving…",
  deleting: "deleting…",

  actionsFor: (name) => `Actions for the message of ${alone(name)}`,
  react: "React",
  reply: "Reply",
  edit: "Edit",
  report: "Report…",
  delete: "Delete",
  back: "Back",
  reactWith: (emoji) => `React with ${emoji}`,
  takeBack: (emoji) => `Take back ${emoji}`,
  sureToDelete: "Delete this message?",
  reallyDelete: "Delete it",
  keep: "Keep it",
  unfold: "Show more",
  fold: "Show less",

  replyTo: "Reply to ",
  inReplyTo: "In reply to ",
  editing: "Edit your message",
  send: "Send",
  save: "Save",
  quoteWanted: "…",
  quoteGone: "A message that is not there any more",
  gone: "This message is not there any more.",
  draftIsNew: "The message is gone. Your text for it would be a new message.",

  search: "Searching…",
  foundNothing: "Nothing found.",
  stillIndexing: "Older messages are still being indexed: some may be missing here.",
  found: (count, more) => `${count}${more ? " or more" : ""} found`,
  noConnection: "There is no connection.",
  firstNew: (count, more) => `${count}${more ? "+" : ""} new since you left`,
};

/** Characters of a message that a quote of it shows. */
const BEGINNING = 140;

/** The beginning of a message's text, on one line. */
export function beginning({content, deleted}) {
  if (deleted) return words.deleted;
  const characters = [...content.slice(0, 4 * BEGINNING).replace(/\s+/gu, " ").trim()];
  return characters.length > BEGINNING ? `${characters.slice(0, BEGINNING).join("")}…` : characters.join("");
}

/** The change that the server refused, by its kind. */
const REFUSED = {
  edit: "Your change was not saved.",
  delete: "The message was not deleted.",
  react: "Your reaction was not kept.",
};

/** The sentence for a refused change of a message. */
export function refusedWords(kind, error) {
  return `${REFUSED[kind]} ${REASONS.get(error.code) ?? errorWords(error)}`;
}

const REASONS = new Map([
  ["not_found", "It is not there any more."],
  ["forbidden", "It is not yours, or you may not change it any more."],
  ["too_many_emoji", "There are too many different emoji on it."],
]);

/** Most names that are listed for an emoji; the rest is a count. */
const TOLD = 8;

/** The users of an emoji: "Ann, you and 3 others". The names may be fewer than the count. */
export function reactors({own, place, others: names, count}) {
  const known = names.map(alone);
  if (own) known.splice(place, 0, words.you);
  const told = count <= TOLD + 1 ? known : known.slice(0, TOLD);
  const others = count - told.length;
  const all = others > 0 ? [...told, others === 1 ? "1 other" : `${others} others`] : told;
  return all.length > 1 ? `${all.slice(0, -1).join(", ")} and ${all.at(-1)}` : all.join("");
}

/** The connection's state: [the text for screen readers, the text that is only shown]. `seconds` until the next attempt. */
export function connectionWords({state, code, reason}, seconds) {
  const soon = seconds > 0 ? ` in ${seconds} s…` : "…";
  switch (state) {
    case "open":
      return ["Connected", ""];
    case "late":
      return ["Connected; others may be late", ""];
    case "waiting":
      return ["Reconnecting", soon];
    case "offline":
      return ["Offline", ""];
    case "checking":
      return ["Checking who you are", "…"];
    case "signed out":
      return ["Signed out", ""];
    case "closed":
      return [`Disconnected: ${reason || CLOSED.get(code) || `the server closed the connection (${code}).`}`, ""];
    default:
      return ["Connecting", "…"];
  }
}

const SUBJECTS = new Map([["content", "The message"], ["username", "The name"], ["room", "The room's name"], ["query", "The search text"]]);

/** An error of the server as a sentence. In "username: 'Ann' is taken" the field's name is replaced by a word. */
export function errorWords({message, field, code}) {
  if (field === "replyTo") return "The message that you answer is not there any more.";
  if (code === ERROR.REF_REUSED) return "The server took it for another one of yours: try again.";
  const subject = SUBJECTS.get(field);
  const said = subject && message.startsWith(`${field}: `) ? subject + message.slice(field.length + 1) : message;
  return /[.!?]$/.test(said) ? said : `${said}.`;
}

/** "Ann, Bob and 3 others": at most `shown` names. */
export function names(all, shown = 2) {
  const named = all.length <= shown + 1 ? all : all.slice(0, shown);
  const others = all.length - named.length;
  const items = named.map((name) => ({name}));
  if (others) items.push(`${others} others`);
  return items.flatMap((item, i) => {
    if (i === 0) return [item];
    return [i === items.length - 1 ? " and " : ", ", item];
  });
}

/** Joins and leaves: "Ann and Bob joined · Carol left". */
export function joinsAndLeaves({joined, left}) {
  const parts = joined.length ? [...names(joined), " joined"] : [];
  if (joined.length && left.length) parts.push(" · ");
  return left.length ? [...parts, ...names(left), " left"] : parts;
}

export function typingWords(people) {
  if (people.length === 0) return [];
  if (people.length > 3) return ["Several people are typing…"];
  return [...names(people, 3), people.length === 1 ? " is typing…" : " are typing…"];
}

/* Times in the words of the page's language. */

const language = globalThis.document?.documentElement.lang || "en";
/** The page's language, with the reader's own country for it: that decides between 14:05 and 2:05 PM. */
const locale = globalThis.navigator?.languages?.find((tag) => tag.split("-")[0] === language) ?? language;
const clock = new Intl.DateTimeFormat(locale, {hour: "numeric", minute: "2-digit"});
const whole = new Intl.DateTimeFormat(locale, {dateStyle: "full", timeStyle: "medium"});
const day = new Intl.DateTimeFormat(locale, {weekday: "long", day: "numeric", month: "long", year: "numeric"});
const short = new Intl.DateTimeFormat(locale, {dateStyle: "medium", timeStyle: "short"});

/** "14:05" */
export const clockTime = (timestamp) => clock.format(timestamp);
/** "Saturday, 22 November 2025 at 14:05:09" */
export const wholeTime = (timestamp) => whole.format(timestamp);
/** "Saturday, 22 November 2025" */
export const dayName = (timestamp) => day.format(timestamp);
/** "22 Nov 2025, 14:05" */
export const shortTime = (timestamp) => short.format(timestamp);
