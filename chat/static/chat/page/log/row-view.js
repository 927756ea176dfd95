/** The rows of the log as elements. Text becomes text nodes, never markup. */

import {make, sentence} from "../shell/dom.js";
import {drawMessage, drawPending} from "./message-view.js";
import {dayName} from "../shell/times.js";
import {comings, words} from "../shell/words.js";

/**
 * @param {object} row from rows.js
 * @param {{me: string, lasting: boolean}} context me: the reader's name; lasting: whether messages can be changed
 */
export function drawRow(row, context) {
  return DRAW[row.kind](row, context);
}

const DRAW = {
  day: ({timestamp}) =>
    make("li", {className: "day"}, make("span", {className: "day-name"}, dayName(timestamp))),

  unread: () => make("li", {className: "unread"}, make("span", {}, words.unread)),

  notice: (row) => make("li", {className: "notice", ariaLive: "off"}, ...sentence(comings(row))),

  message: drawMessage,

  pending: drawPending,
};
