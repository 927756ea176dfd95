/**
 * Where the focus is among the rows. One message at a time can be tabbed to, with what can be pressed in it; the
 * arrow keys go from message to message. So the way through a page of a thousand messages is a few tabs long.
 */

import {isComposing} from "../shell/keyboard.js";

const MESSAGE = "li[data-id]";

/** Draw a row anew (`exchange` does it), and leave its guest (the toolbar) and the focus where they were. */
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
  #current = null; // the row that can be tabbed to

  /** @param {{list: HTMLElement, onLeave: () => void, onTop: () => void}} options onTop: no message is further up */
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

  /** Rows were drawn: the last message is the one to tab to, until the reader has chosen another. */
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
    event.preventDefault(); // it is not meant for a sheet as well
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
