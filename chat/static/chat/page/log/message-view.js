/**
 * One message as a row. Buttons have data-act (row-interaction.js handles it) and data-focus (to find them again after a
 * redraw).
 */

import {classes, icon, ICONS, make} from "../shell/dom.js";
import {beginning, clockTime, reactors, wholeTime, words} from "../shell/words.js";
import {linkify} from "./linkify.js";

/* Long messages are shown folded, with a button that unfolds them. */

/** A text with more lines is folded; a line is taken to have at most WIDTH characters. chat.css shows 16. */
const LINES = 24;
const WIDTH = 64;

/** Whether a text is too long to be shown whole. */
export function isLong(text) {
  let lines = 0;
  for (const line of text.split("\n", LINES + 1)) lines += Math.max(1, Math.ceil(line.length / WIDTH));
  return lines > LINES;
}

/** Fold or unfold the text of the row, whose button was pressed. Returns whether it is unfolded now. */
export function turn(row, button) {
  const unfolded = !row.querySelector(".text").classList.toggle("folded");
  button.textContent = unfolded ? words.fold : words.unfold;
  button.ariaExpanded = String(unfolded);
  // A reader at its end stays at this message.
  if (!unfolded) row.scrollIntoView({block: "nearest"});
  return unfolded;
}

/** How many author colours chat.css has. */
export const HUES = 8;

/** The colour number of a name, below `kinds`: always the same, in every browser. */
export function hueOf(name, kinds) {
  let hash = 0;
  for (const character of name) hash = (Math.imul(hash, 31) + character.codePointAt(0)) >>> 0;
  return hash % kinds;
}

/** @param {object} row a row of kind "message" */
export function drawMessage({key, message, quote, own, continued, marked}, {lasting, unfolded}) {
  const {id, username, deleted = false, changing = []} = message;
  const changes = changing.some(({kind}) => kind !== "react");
  return make(
    "li",
    {
      className: classes("message", {own, continued, marked, deleted, changes}),
      dataset: {id, hue: hueOf(username, HUES)},
      tabIndex: -1,
      ariaLive: own ? "off" : null, // its author knows it
    },
    author(username, message),
    make(
      "div",
      {className: "said"},
      quote && quotation(quote),
      ...(deleted ? [make("p", {className: "text tombstone"}, words.deleted)] : text(message, unfolded.has(key))),
      changes ? fate(changing.some(({kind}) => kind === "delete") ? words.deleting : words.saving) : null,
      message.reactions?.length ? reactions(message, lasting) : null,
    ),
    time(message.timestamp),
    deleted ? null : actions(username),
  );
}

/** @param {object} row a row of kind "pending" */
export function drawPending({key, entry, quote, continued}, {me, unfolded}) {
  return make(
    "li",
    {className: classes("message own pending", {continued, failed: entry.failed !== null}), ariaLive: "off"},
    author(me),
    make(
      "div",
      {className: "said"},
      quote && quotation(quote),
      ...text(entry, unfolded.has(key)),
      entry.failed === null ? fate(HELD[entry.held] ?? words.sending) : failure(entry),
    ),
    time(entry.at),
  );
}

/** The reason why a message waits, by the server's error code. */
const HELD = {slow_mode: words.slow, too_many: words.held};

/** The author's name. A bot, which may have any name, has a mark, and its image if it has one. */
function author(name, {bot = false, avatar} = {}) {
  const mark = bot ? [" ", make("small", {className: "bot"}, words.bot)] : [];
  return make("span", {className: "author", title: name}, bot && avatar ? image(avatar) : null, make("bdi", {}, name), ...mark);
}

/** The server takes only https and paths of the site. The Content-Security-Policy may refuse another site's image. */
function image(src) {
  const onerror = ({target}) => target.remove();
  return make("img", {src, alt: "", loading: "lazy", decoding: "async", referrerPolicy: "no-referrer", onerror});
}

/** The text, and, if it is long, the button that unfolds it. */
function text({content, edited}, unfolded) {
  const parts = linkify(content).map((part) => (part.href ? link(part) : part.text));
  const note = edited && make("small", {className: "edited", title: wholeTime(edited)}, words.edited);
  const long = isLong(content);
  const className = classes("text", {folded: long && !unfolded});
  const shown = make("div", {className, dir: "auto"}, ...parts, ...(note ? [" ", note] : []));
  if (!long) return [shown];
  const dataset = {act: "unfold", focus: "unfold"};
  const state = {type: "button", className: "small unfold", tabIndex: -1, ariaExpanded: String(unfolded)};
  return [shown, make("button", {...state, dataset}, unfolded ? words.fold : words.unfold)];
}

function link({text: shown, href}) {
  // Left to right in any text: otherwise the host may not stand where an address has it.
  const safety = {rel: "noopener noreferrer nofollow ugc", target: "_blank", dir: "ltr"};
  const properties = {href, title: href, tabIndex: -1, ...safety};
  return make("a", properties, shown);
}

function time(timestamp) {
  const date = new Date(timestamp);
  return make("time", {dateTime: date.toISOString(), title: wholeTime(date)}, clockTime(date));
}

/** The button that opens the actions on touch screens; elsewhere it is for screen readers. */
function actions(name) {
  return make(
    "button",
    {type: "button", className: "more", tabIndex: -1, dataset: {act: "more", focus: "more"}},
    icon(ICONS.more, 20),
    make("span", {className: "visually-hidden"}, words.actionsFor(name)),
  );
}

/** The message replied to: its author, its first words, and a link to it. */
function quotation({id, message, gone}) {
  if (!message) return make("p", {className: "quote"}, gone ? words.quoteGone : words.quoteWanted);
  const dataset = {act: "jump", to: id, focus: "quote", hue: hueOf(message.username, HUES)};
  return make(
    "button",
    {type: "button", className: "quote", tabIndex: -1, dataset},
    make("span", {className: "visually-hidden"}, words.inReplyTo),
    make("bdi", {className: "quote-author", title: message.username}, message.username),
    " ",
    make("span", {className: "quote-text", dir: "auto"}, beginning(message)),
  );
}

function reactions(message, lasting) {
  const chips = message.reactions.map((reaction) => make("li", {}, chip(reaction, message, lasting)));
  return make("ul", {className: "reactions"}, ...chips);
}

/** One emoji: its count, its users' names (shown by chat.css and for screen readers), and whether the reader added it. */
function chip(reaction, {changing = []}, lasting) {
  const {emoji, count, own} = reaction;
  const names = reactors(reaction);
  const shown = [make("span", {className: "emoji"}, emoji), make("span", {}, String(count))];
  const content = [
    make("span", {className: "chip-face", ariaHidden: "true"}, ...shown),
    make("span", {className: "visually-hidden"}, `${emoji} ${names}`),
  ];
  if (!lasting) return make("span", {className: "chip", dataset: {names}}, ...content);
  const properties = {
    type: "button",
    className: classes("chip", {changing: changing.some((change) => change.emoji === emoji)}),
    ariaPressed: String(own),
    tabIndex: -1,
    dataset: {act: "react", emoji, focus: `react ${emoji}`, names},
  };
  return make("button", properties, ...content);
}

/** The state of a pending message. Both sentences are there; the log's state shows one (chat.css). */
function fate(doing) {
  return make(
    "p",
    {className: "fate"},
    make("span", {className: "when-connected"}, doing),
    make("span", {className: "when-not"}, words.waiting),
  );
}

function failure({ref, failed}) {
  const button = (act) =>
    make("button", {type: "button", className: "small", dataset: {act, ref, focus: act}}, words[act]);
  const buttons = ["retry", "reword", "discard"].flatMap((act) => [" ", button(act)]);
  return make("p", {className: "fate"}, words.notSent(failed), ...buttons);
}
