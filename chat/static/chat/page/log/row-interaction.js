import {isComposing} from "../shell/keyboard.js";
import {turn} from "./message-view.js";

/*
 * Keyboard focus in the rows. One message at a time is in the tab order, with its links and buttons; the arrow keys move
 * from message to message. So a page of a thousand messages takes a few tabs.
 */

const MESSAGE = "li[data-id]";

/** Replace a row (`exchange` does it), and keep its guest (the toolbar) and the focus. */
export function carryFocus(before, node, exchange) {
  const active = document.activeElement;
  const focused = before.contains(active) ? active : null;
  const guests = before.querySelectorAll(":scope > [data-guest]");
  exchange();
  node.append(...guests);
  node.classList.toggle("has-guest", guests.length > 0);
  if (!focused) return;
  const place = focused.dataset.focus;
  const same = place && node.querySelector(`[data-focus="${CSS.escape(place)}"]`);
  (node.contains(focused) ? focused : (same ?? node)).focus({preventScroll: true});
}

export class RowFocus {
  #list;
  #current = null; // the row in the tab order

  /** @param {{list: HTMLElement, onLeave: () => void, onTop: () => void}} options onTop: called at the topmost message */
  constructor({list, onLeave, onTop}) {
    this.#list = list;
    list.addEventListener("focusin", ({target}) => this.#stay(target.closest(MESSAGE)));
    list.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.defaultPrevented || isComposing(event)) return;
      if (event.key === "Escape") this.#leave(event, onLeave);
      else this.#key(event, onTop);
    });
  }

  /** Rows were drawn: the last message is in the tab order, until the reader chooses another. */
  refresh() {
    const active = document.activeElement;
    this.#stay(this.#list.contains(active) ? active.closest(MESSAGE) : last(this.#list));
  }

  #stay(row) {
    if (!row) return;
    if (row !== this.#current && this.#current) tabbable(this.#current, false);
    tabbable(row, true);
    this.#current = row;
  }

  #leave(event, onLeave) {
    event.preventDefault(); // a side panel must not close as well
    onLeave();
  }

  #key(event, onTop) {
    const row = event.target.closest(MESSAGE);
    const next = row && STEPS[event.key]?.(row);
    if (next === undefined || row === null) return;
    event.preventDefault();
    if (next) next.focus();
    else if (event.key === "ArrowUp") onTop();
  }
}

const STEPS = {
  ArrowUp: (row) => sibling(row, "previousElementSibling"),
  ArrowDown: (row) => sibling(row, "nextElementSibling"),
  Home: (row) => row.parentElement.querySelector(`:scope > ${MESSAGE}`),
  End: (row) => last(row.parentElement),
};

function last(list) {
  const row = list.lastElementChild;
  return row && !row.matches(MESSAGE) ? sibling(row, "previousElementSibling") : row;
}

function sibling(row, direction) {
  let next = row[direction];
  while (next && !next.matches(MESSAGE)) next = next[direction];
  return next;
}

function tabbable(row, can) {
  const inside = row.querySelectorAll(":scope > .said :is(a, button:not(.small))");
  for (const element of [row, ...inside]) element.tabIndex = can ? 0 : -1;
}

/** The buttons in the rows. Each has data-act, the name of a method here. */
export class RowButtons {
  unfolded = new Set(); // keys of the rows whose long text is unfolded
  #parts;

  /**
   * @param {object} parts
   * @param {HTMLElement} parts.list the list of the rows
   * @param {() => import("../composer/composer.js").Composer} parts.composer
   */
  constructor({list, ...parts}) {
    this.#parts = parts;
    list.addEventListener("click", ({target}) => {
      const button = target.closest("[data-act]");
      this.#acts[button?.dataset.act]?.(button.closest(".rows > li"), button.dataset, button);
    });
  }

  #acts = {
    more: (row) => this.#parts.toolbar.toggle(row),
    jump: (row, {to}) => this.#parts.navigation.to(Number(to)),
    unfold: (row, _, button) => this.#unfold(row, button),
    react: (row, {emoji}, button) => {
      this.#parts.actions.react(this.#parts.log.rowOf(row).message, emoji, button.ariaPressed !== "true");
    },
    retry: (row, {ref}) => {
      this.#parts.messageSender.retry(ref);
      this.#parts.composer().focus(); // the button that had the focus is removed
    },
    reword: (row, {ref}) => this.#reword(ref),
    discard: (row, {ref}) => {
      this.#parts.messageSender.discard(ref);
      this.#parts.composer().focus();
    },
  };

  #unfold(row, button) {
    const {key} = this.#parts.log.rowOf(row);
    if (turn(row, button)) this.unfolded.add(key);
    else this.unfolded.delete(key);
  }

  #reword(ref) {
    const composer = this.#parts.composer();
    const refused = this.#parts.messageSender.discard(ref);
    composer.text = [refused.content, composer.text].filter(Boolean).join("\n");
    composer.focus();
  }
}

/* Copies selected messages as author, time and text, without the labels of buttons. */

const ROW = "li.message";

/** Copy messages from the list as they were written. */
export function copyAsSaid(list) {
  document.addEventListener("copy", (event) => {
    const selection = document.getSelection();
    if (event.target.closest?.("input, textarea") || !selection?.rangeCount) return;
    const text = said(selection.getRangeAt(0), list);
    if (text === null) return;
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  });
}

/** The text of the selected rows; null if the selection has more than messages. */
function said(range, list) {
  if (range.collapsed || !list.contains(range.commonAncestorContainer)) return null;
  const rows = [...list.querySelectorAll(ROW)].filter((row) => range.intersectsNode(row));
  const parts = rows.map((row) => ({row, words: wordsIn(range, row.querySelector(".text"))})).filter(({words}) => words);
  if (parts.length < 2) return parts.length ? parts[0].words : null;
  return parts.map(({row, words}) => `${heading(row)} ${words}`).join("\n");
}

function heading(row) {
  return `[${row.querySelector("time").textContent}] ${row.querySelector(".author").textContent}:`;
}

/** The selected part of an element's text, without its notes. */
function wordsIn(range, text) {
  if (!text || !range.intersectsNode(text)) return "";
  const part = document.createRange();
  part.selectNodeContents(text);
  if (part.comparePoint(range.startContainer, range.startOffset) === 0) part.setStart(range.startContainer, range.startOffset);
  if (part.comparePoint(range.endContainer, range.endOffset) === 0) part.setEnd(range.endContainer, range.endOffset);
  const copy = part.cloneContents();
  for (const note of copy.querySelectorAll(".edited")) note.remove();
  return copy.textContent.trimEnd();
}
