/** Long messages: shown folded, with a button that unfolds them. Pure, but for `turn`. */

import {words} from "../shell/words.js";

/** Lines from which a text is folded, and of how many characters at most a line is taken to be. chat.css shows 16. */
const LINES = 24;
const WIDTH = 64;

/** Whether a text would fill more of the page than a conversation can spare. */
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
  // A reader who has reached its end stays at this message.
  if (!unfolded) row.scrollIntoView({block: "nearest"});
  return unfolded;
}
