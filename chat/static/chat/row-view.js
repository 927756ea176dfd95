/** The rows of the log as elements. Text becomes text nodes, never markup. */

import {make, sentence} from "./dom.js";
import {linkify} from "./linkify.js";
import {hueOf} from "./presence.js";
import {comings, words} from "./words.js";

/** How many author colours chat.css has. */
export const HUES = 8;

const language = document.documentElement.lang || "en";
/** The page's language, with the reader's own country for it: that decides between 14:05 and 2:05 PM. */
const locale = navigator.languages?.find((tag) => tag.split("-")[0] === language) ?? language;
const clockTime = new Intl.DateTimeFormat(locale, {hour: "numeric", minute: "2-digit"});
const wholeTime = new Intl.DateTimeFormat(locale, {dateStyle: "full", timeStyle: "medium"});
const dayName = new Intl.DateTimeFormat(locale, {weekday: "long", day: "numeric", month: "long", year: "numeric"});

/**
 * @param {object} row from rows.js
 * @param {{me: string, connected: boolean}} context
 */
export function drawRow(row, context) {
  return DRAW[row.kind](row, context);
}

const DRAW = {
  day: ({timestamp}) =>
    make("li", {className: "day"}, make("span", {className: "day-name"}, dayName.format(timestamp))),

  unread: () => make("li", {className: "unread"}, make("span", {}, words.unread)),

  notice: (row) => make("li", {className: "notice", ariaLive: "off"}, ...sentence(comings(row))),

  message: ({message, own, continued}) =>
    make(
      "li",
      {
        className: classes("message", {own, continued}),
        dataset: {id: message.id, hue: hueOf(message.username, HUES)},
        ariaLive: own ? "off" : null, // who wrote it knows it
      },
      author(message.username),
      make("div", {className: "said"}, text(message.content)),
      time(message.timestamp),
    ),

  pending: ({entry, continued}, {me}) =>
    make(
      "li",
      {className: classes("message own pending", {continued, failed: entry.failed !== null}), ariaLive: "off"},
      author(me),
      make("div", {className: "said"}, text(entry.content), entry.failed === null ? fate() : failure(entry)),
      time(entry.at),
    ),
};

function classes(base, flags) {
  return [base, ...Object.keys(flags).filter((name) => flags[name])].join(" ");
}

function author(name) {
  return make("span", {className: "author"}, make("bdi", {}, name));
}

function text(content) {
  const parts = linkify(content).map((part) => (part.href ? link(part) : part.text));
  return make("div", {className: "text", dir: "auto"}, ...parts);
}

function link({text: shown, href}) {
  return make("a", {href, rel: "noopener noreferrer nofollow ugc", target: "_blank", title: href}, shown);
}

function time(timestamp) {
  const date = new Date(timestamp);
  return make(
    "time",
    {dateTime: date.toISOString(), title: wholeTime.format(date)},
    clockTime.format(date),
  );
}

/** What becomes of a message on its way. Both sentences are there; the log's state shows one (chat.css). */
function fate() {
  return make(
    "p",
    {className: "fate"},
    make("span", {className: "when-connected"}, words.sending),
    make("span", {className: "when-not"}, words.waiting),
  );
}

function failure({ref, failed}) {
  const button = (action) => make("button", {type: "button", className: "small", dataset: {action, ref}}, words[action]);
  return make("p", {className: "fate"}, words.notSent(failed), " ", button("retry"), " ", button("discard"));
}
