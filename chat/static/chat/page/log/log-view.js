import {make, sentence} from "../shell/dom.js";
import {joinsAndLeaves, dayName, words} from "../shell/words.js";
import {drawMessage, drawPending} from "./message-view.js";
import {carryFocus} from "./row-interaction.js";

/* The rows of the log as elements. Text becomes text nodes, never markup. */

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

  notice: (row) => make("li", {className: "notice", ariaLive: "off"}, ...sentence(joinsAndLeaves(row))),

  message: drawMessage,

  pending: drawPending,
};

/** Pixels from the end within which the reader counts as following. */
const NEAR = 48;
/** Kinds of rows that separate others; they are no anchor for the reader's place. */
const LINES = ["day", "unread"];
/** Milliseconds that a row is highlighted after a jump to it. */
const LIT = 2_500;

/**
 * The scrolling list of rows. It draws differences only, keeps the reader's place and the focus, and follows the
 * newest row while the reader is at the live end.
 */
export class LogView {
  #pane; // scrolls
  #list;
  #drawn = new Map(); // key → {node, version, kind}
  #rows = new WeakMap(); // node → row
  #following = true;
  #live = true; // the last row is the live end
  #onFollow;

  /** @param {{pane: HTMLElement, list: HTMLElement, onFollow: (following: boolean) => void}} options */
  constructor({pane, list, onFollow}) {
    this.#pane = pane;
    this.#list = list;
    this.#onFollow = onFollow;
    pane.addEventListener("scroll", () => this.#scrolled(), {passive: true});
    // The pane changes size with the keyboard of a phone, the list with late layout and with fonts.
    const resized = new ResizeObserver(() => this.#following && this.#toEnd());
    resized.observe(pane);
    resized.observe(list);
  }

  /** Whether the reader is at the newest row of the room. */
  get following() {
    return this.#following;
  }

  /** Pixels that are hidden above and below the visible part. */
  get margins() {
    const {scrollHeight, scrollTop, clientHeight} = this.#pane;
    return {above: scrollTop, below: scrollHeight - scrollTop - clientHeight};
  }

  follow() {
    this.#live = true;
    this.#follow(true);
    this.#toEnd();
  }

  /**
   * Make the list show these rows.
   * @param {boolean} live whether the last one is the live end
   */
  draw(rows, {live = true, ...context}) {
    this.#live = live;
    if (!live) this.#follow(false);
    this.keepPlace(() => {
      this.#drop(rows);
      this.#place(rows, context);
    });
    if (this.#following) this.#toEnd();
  }

  /** Change the pane's content, and keep the reader's place. */
  keepPlace(change) {
    const anchor = this.#following ? null : this.#anchor();
    change();
    if (anchor) this.#return(anchor);
  }

  /** The row that an element is, or is in. */
  rowOf(element) {
    let node = element;
    while (node && node.parentElement !== this.#list) node = node.parentElement;
    return this.#rows.get(node);
  }

  nodeOf(id) {
    return this.#list.querySelector(`:scope > [data-id="${id}"]`);
  }

  /** Where the first row of a class is, relative to the visible part: "above", "here", "below"; or null. */
  whereIs(className) {
    const box = this.#list.querySelector(`:scope > .${className}`)?.getBoundingClientRect();
    const pane = this.#pane.getBoundingClientRect();
    if (!box) return null;
    if (box.bottom < pane.top) return "above";
    return box.top > pane.bottom ? "below" : "here";
  }

  /** Scroll to a row, highlight it, and focus it. */
  reveal(node) {
    this.#follow(false);
    node.scrollIntoView({block: "center"});
    node.focus({preventScroll: true});
    node.classList.add("lit");
    setTimeout(() => node.classList.remove("lit"), LIT);
  }

  #drop(rows) {
    const keys = new Set(rows.map(({key}) => key));
    for (const [key, {node}] of this.#drawn) {
      if (keys.has(key)) continue;
      if (node.contains(document.activeElement)) this.#pane.focus({preventScroll: true});
      node.remove();
      this.#drawn.delete(key);
    }
  }

  #place(rows, context) {
    let next = this.#list.firstChild;
    for (const row of rows) {
      const before = this.#drawn.get(row.key)?.node;
      const node = this.#node(row, context);
      if (before === next) next = node; // it was redrawn in place
      if (node === next) next = node.nextSibling;
      else this.#list.insertBefore(node, next);
    }
  }

  /** The row's element: the present one, or a new one in its place. */
  #node(row, context) {
    const drawn = this.#drawn.get(row.key);
    if (drawn?.version === row.version && drawn.kind === row.kind) return drawn.node;
    const node = drawRow(row, context);
    if (drawn) this.#exchange(drawn, node, row);
    this.#drawn.set(row.key, {node, version: row.version, kind: row.kind});
    this.#rows.set(node, row);
    return node;
  }

  #exchange(drawn, node, {kind}) {
    // A message that was read out once is not read out again because of an emoji.
    if (drawn.kind === kind) node.ariaLive = "off";
    carryFocus(drawn.node, node, () => drawn.node.replaceWith(node));
  }

  /** The first visible row and its position: the reader's place. */
  #anchor() {
    const top = this.#pane.getBoundingClientRect().top;
    const rows = this.#list.children;
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle].getBoundingClientRect().bottom > top) high = middle;
      else low = middle + 1;
    }
    // A day line or the line "new" moves when older messages come above it.
    while (LINES.includes(this.#rows.get(rows[low])?.kind)) low += 1;
    if (low === rows.length) return null;
    return {key: this.#rows.get(rows[low]).key, at: rows[low].getBoundingClientRect().top};
  }

  #return({key, at}) {
    const node = this.#drawn.get(key)?.node; // not the former element: it may have been redrawn
    if (node) this.#pane.scrollTop += node.getBoundingClientRect().top - at;
  }

  #toEnd() {
    this.#pane.scrollTop = this.#pane.scrollHeight;
  }

  #scrolled() {
    this.#follow(this.#live && this.margins.below < NEAR);
  }

  #follow(following) {
    if (following === this.#following) return;
    this.#following = following;
    this.#onFollow(following);
  }
}
