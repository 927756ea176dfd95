/** Keyboards: on-screen, physical, and input methods. */

/** Safari lays the on-screen keyboard over the page instead of shrinking the page. */
export function fitAboveKeyboard() {
  const {visualViewport} = window;
  visualViewport?.addEventListener("resize", () => {
    // Zooming in makes the viewport smaller too, and must not squeeze the page.
    const height = Math.round(visualViewport.height * visualViewport.scale);
    document.documentElement.style.setProperty("--visible-height", `${height}px`);
  });
}

/**
 * Whether a key belongs to the input method: while it composes, Enter accepts its word and Escape cancels it. Safari
 * reports it by the key code only.
 */
export function isComposing({isComposing: composing, keyCode}) {
  return composing || keyCode === 229;
}

/** Keep a dialog open if Escape was meant for the input method. */
export function keepDialogs() {
  let composing = false;
  for (const type of ["compositionstart", "compositionend"]) {
    document.addEventListener(type, () => (composing = type === "compositionstart"), {capture: true});
  }
  document.addEventListener("cancel", (event) => composing && event.preventDefault(), {capture: true});
}

/** Codes of keys that only a physical keyboard reports. */
const REAL = /^(?:Arrow|Tab|Escape|Control|Alt|Meta|Shift|Page|Home|End)/;

/**
 * Whether Enter starts a new line, as on phones, whose keyboards have no Shift+Enter. It does not if there is a
 * mouse, or once a physical key was pressed.
 */
export class EnterKey {
  /** @param {HTMLElement} field */
  constructor(field, {onChange}) {
    this.#touch = matchMedia("(pointer: coarse) and (hover: none)").matches && !matchMedia("(any-pointer: fine)").matches;
    field.addEventListener("keydown", ({code}) => {
      if (!this.#touch || !REAL.test(code)) return;
      this.#touch = false;
      onChange();
    });
  }

  #touch;

  get breaksLine() {
    return this.#touch;
  }
}

/** Call `then` at the key "/" outside of fields. */
export function onSlash(then) {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isComposing(event)) return;
    if (event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
    event.preventDefault();
    then();
  });
}
