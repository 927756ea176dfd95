/** The faces of the toolbar (toolbar.js): each has a label, buttons and perhaps a question. */

import {icon, make} from "../shell/dom.js";
import {ICONS} from "../shell/icons.js";
import {choices, has} from "./reactions.js";
import {words} from "../shell/words.js";

/**
 * Each takes {message, lasting, moderates} and gives {label, nodes}. A button's data-act says what it does, the name
 * of another face turns to that.
 */
export const FACES = {
  actions: ({message, lasting, moderates}) => ({
    label: words.actionsFor(message.username),
    nodes: [
      lasting ? drawn("react", "emoji") : null,
      drawn("reply", "reply"),
      lasting && message.own ? drawn("edit", "edit") : null,
      (lasting && message.own) || moderates ? drawn("delete", "question") : null,
      lasting && !message.own ? drawn("report", "report") : null,
    ],
  }),

  emoji: ({message}) => ({
    label: words.react,
    nodes: [
      ...choices(message.reactions).map((emoji) => pick(emoji, has(message.reactions, emoji))),
      drawn("back", "actions"),
    ],
  }),

  question: () => ({
    label: words.sureToDelete,
    nodes: [
      make("span", {className: "question"}, words.sureToDelete),
      said("keep", "actions"),
      said("reallyDelete", "remove", "danger"),
    ],
  }),
};

function drawn(name, act) {
  return make(
    "button",
    {type: "button", title: words[name], ariaLabel: words[name], dataset: {act, focus: `bar ${act}`}},
    icon(ICONS[name], 20),
  );
}

function said(name, act, className = "") {
  return make("button", {type: "button", className, dataset: {act, focus: `bar ${act}`}}, words[name]);
}

function pick(emoji, mine) {
  const label = mine ? words.takeBack(emoji) : words.reactWith(emoji);
  const dataset = {act: "react", emoji, focus: `bar ${emoji}`};
  const properties = {type: "button", className: "emoji", ariaLabel: label, ariaPressed: String(mine), dataset};
  return make("button", properties, emoji);
}
