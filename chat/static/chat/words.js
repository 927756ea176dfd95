/**
 * Every sentence that the room's script says, in one place. A sentence with names is a list of parts, strings
 * and {name}: names come from strangers and may be right-to-left, so they are drawn each in a <bdi>.
 */

import {CLOSE} from "./protocol.js";

const CLOSED = new Map([
  [CLOSE.BAD_INPUT, "the server could not understand this page. Reload it."],
  [CLOSE.FORBIDDEN, "you were disconnected by the staff."],
  [4401, "you are not signed in any more. Choose your name again."],
]);

export const words = {
  sending: "sending…",
  waiting: "waiting for connection",
  notSent: (reason) => `Not sent. ${reason}`,
  retry: "Retry",
  discard: "Discard",
  unread: "New since you left",
  newMessages: (count) => (count === 1 ? "1 new message" : `${count} new messages`),
  latest: "Latest messages",
  left: (count) => `${count} characters left`,
  over: (count) => `${count} characters too many`,
  here: (count) => `${count} here`,
  more: (count) => `and ${count} more`,
  you: "you",
  historyFailed: "Older messages could not be loaded.",
};

/** The connection's state: [what is said, what is only shown]. `seconds` until the next try. */
export function connectionWords({state, code, reason}, seconds) {
  const soon = seconds > 0 ? ` in ${seconds} s…` : "…";
  switch (state) {
    case "open":
      return ["Connected", ""];
    case "waiting":
      return ["Reconnecting", soon];
    case "offline":
      return ["Offline", ""];
    case "closed":
      return [`Disconnected: ${reason || CLOSED.get(code) || `the server closed the connection (${code}).`}`, ""];
    default:
      return ["Connecting", "…"];
  }
}

const SUBJECTS = new Map([["content", "The message"], ["username", "The name"], ["room", "The room's name"]]);

/** An error of the server as a sentence: "username: 'Ann' is taken" has the field's name, not a person's word. */
export function errorWords({message, field}) {
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

/** Who came and who went: "Ann and Bob joined · Carol left". */
export function comings({joined, left}) {
  const parts = joined.length ? [...names(joined), " joined"] : [];
  if (joined.length && left.length) parts.push(" · ");
  return left.length ? [...parts, ...names(left), " left"] : parts;
}

export function typingWords(people) {
  if (people.length === 0) return [];
  if (people.length > 3) return ["Several people are typing…"];
  return [...names(people, 3), people.length === 1 ? " is typing…" : " are typing…"];
}
