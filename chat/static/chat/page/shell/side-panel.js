import {isComposing} from "./keyboard.js";

/** A panel that a button opens: beside the messages, or, on narrow screens, over them. */
export class SidePanel {
  #panel;
  #toggle;
  #focus;

  /**
   * @param {object} options
   * @param {HTMLElement} options.panel
   * @param {HTMLElement} options.toggle the button; aria-expanded tells the state
   * @param {HTMLElement} options.close a button in the panel
   * @param {HTMLElement} [options.focus] gets the focus when the panel opens
   * @param {boolean} [options.modest] a press elsewhere closes it
   */
  constructor({panel, toggle, close, focus = panel, modest = true}) {
    this.#panel = panel;
    this.#toggle = toggle;
    this.#focus = focus;
    toggle.addEventListener("click", () => this.show(!this.open));
    close.addEventListener("click", () => this.show(false));
    document.addEventListener("keydown", (event) => this.#key(event));
    if (modest) document.addEventListener("click", (event) => this.#pressed(event));
  }

  get open() {
    return this.#toggle.getAttribute("aria-expanded") === "true";
  }

  show(open, {refocus = true} = {}) {
    this.#toggle.setAttribute("aria-expanded", String(open));
    this.#panel.classList.toggle("open", open);
    // The layout uses this class: a `:has()` selector would be evaluated again with each message.
    this.#panel.parentElement.classList.toggle(`with-${this.#panel.id}`, open);
    if (open) this.#focus.focus();
    else if (refocus) this.#toggle.focus();
  }

  #key(event) {
    if (event.key !== "Escape" || event.defaultPrevented || isComposing(event)) return;
    if (!this.open || ofDialog(event)) return;
    event.preventDefault();
    this.show(false);
  }

  #pressed(event) {
    if (ofDialog(event)) return;
    // The path as it was at the press: the pressed element may be redrawn already.
    const path = event.composedPath();
    const inside = path.includes(this.#panel) || path.includes(this.#toggle);
    if (this.open && !inside) this.show(false, {refocus: false});
  }
}

/** Events in a dialog above the panel don't concern the panel. */
function ofDialog({target}) {
  return target.closest?.("dialog") != null;
}
