import {drawRow} from "./row-view.js";

/** Pixels from the end within which the reader counts as being there. */
const NEAR = 48;

/**
 * The scrolling list of rows. It draws differences only, keeps the reader's place, and follows the newest row
 * while the reader is at the end.
 */
export class LogView {
  #pane; // scrolls
  #list;
  #drawn = new Map(); // key → {node, version}
  #keys = new WeakMap(); // node → key
  #following = true;
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

  /** Whether the reader is at the newest row. */
  get following() {
    return this.#following;
  }

  follow() {
    this.#following = true;
    this.#toEnd();
    this.#onFollow(true);
  }

  /** Make the list show these rows. */
  draw(rows, context) {
    const anchor = this.#following ? null : this.#anchor();
    this.#drop(rows);
    this.#place(rows, context);
    if (this.#following) this.#toEnd();
    else if (anchor) this.#return(anchor);
  }

  #drop(rows) {
    const keys = new Set(rows.map(({key}) => key));
    for (const [key, {node}] of this.#drawn) {
      if (keys.has(key)) continue;
      node.remove();
      this.#drawn.delete(key);
    }
  }

  #place(rows, context) {
    let next = this.#list.firstChild;
    for (const row of rows) {
      const before = this.#drawn.get(row.key)?.node;
      const node = this.#node(row, context);
      if (before === next) next = node; // it was drawn anew in its place
      if (node === next) next = node.nextSibling;
      else this.#list.insertBefore(node, next);
    }
  }

  /** The row's element: the one that stands, or a new one in its place. */
  #node(row, context) {
    const drawn = this.#drawn.get(row.key);
    if (drawn?.version === row.version && drawn.kind === row.kind) return drawn.node;
    const node = drawRow(row, context);
    drawn?.node.replaceWith(node);
    this.#drawn.set(row.key, {node, version: row.version, kind: row.kind});
    this.#keys.set(node, row.key);
    return node;
  }

  /** The first row in sight, and where it stands: the reader's place. */
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
    if (low === rows.length) return null;
    return {key: this.#keys.get(rows[low]), at: rows[low].getBoundingClientRect().top};
  }

  #return({key, at}) {
    const node = this.#drawn.get(key)?.node; // not the element from before: it may have been drawn anew
    if (node) this.#pane.scrollTop += node.getBoundingClientRect().top - at;
  }

  #toEnd() {
    this.#pane.scrollTop = this.#pane.scrollHeight;
  }

  #scrolled() {
    const {scrollHeight, scrollTop, clientHeight} = this.#pane;
    const following = scrollHeight - scrollTop - clientHeight < NEAR;
    if (following === this.#following) return;
    this.#following = following;
    this.#onFollow(following);
  }
}
