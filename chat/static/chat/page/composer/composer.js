import {characters, LIMIT} from "../../client/protocol.js";
import {isBlank, mended} from "../../client/text.js";
import {EnterKey, isComposing} from "../shell/keyboard.js";
import {words} from "../shell/words.js";

/** The count is shown when so many characters are left, or fewer. */
const NEAR_LIMIT = 400;

/** The text as it is sent: sanitized, and without blank lines around it. */
export function cleaned(text) {
  return mended(text.replace(/^\s*\n/, "").trimEnd(), LIMIT.CONTENT).trimEnd();
}

/**
 * The field for writing messages. Enter sends and Shift+Enter breaks the line; on a phone Enter breaks it. An input
 * method gets both keys first.
 */
export class Composer {
  #field;
  #count;
  #button;
  #enter;
  #on;

  /**
   * @param {object} options
   * @param {HTMLFormElement} options.form
   * @param {HTMLTextAreaElement} options.field
   * @param {HTMLElement} options.count
   * @param {HTMLButtonElement} options.button
   * @param {HTMLElement} options.hint the note about the Enter key
   * @param {object} options.on {send(text), typing(), changed(), up(): in the empty field, escape(): whether it was used}
   */
  constructor({form, field, count, button, hint, on}) {
    this.#field = field;
    this.#count = count;
    this.#button = button;
    this.#on = on;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#enter = new EnterKey(field, {onChange: () => this.#hint(hint)});
    this.#hint(hint);
    field.addEventListener("keydown", (event) => this.#key(event));
    field.addEventListener("input", () => {
      this.#changed();
      if (field.value) on.typing();
    });
    this.#draw();
  }

  get text() {
    return this.#field.value;
  }

  /** Set the text, with the cursor at its end. */
  set text(text) {
    this.#field.value = text;
    this.#field.setSelectionRange(text.length, text.length);
    this.#changed();
  }

  focus() {
    this.#field.focus();
  }

  /** Whether the field can be used. Its text stays. */
  set enabled(enabled) {
    if (this.#field.disabled === !enabled) return;
    this.#field.disabled = !enabled;
    this.#draw();
  }

  #hint(element) {
    const {breaksLine} = this.#enter;
    this.#field.enterKeyHint = breaksLine ? "enter" : "send";
    element.hidden = breaksLine; // the button sends
  }

  #key(event) {
    if (isComposing(event) || event.shiftKey || event.altKey) return;
    if (event.key === "Enter") {
      if (this.#enter.breaksLine && !event.ctrlKey && !event.metaKey) return;
      this.#send();
    } else if (event.key === "ArrowUp" && this.text === "") this.#on.up();
    else if (event.key !== "Escape" || !this.#on.escape()) return;
    event.preventDefault();
  }

  #send() {
    const text = cleaned(this.#field.value);
    if (this.#field.disabled || isBlank(text) || characters(text) > LIMIT.CONTENT) return;
    this.text = "";
    this.focus();
    this.#on.send(text);
  }

  #changed() {
    this.#draw();
    this.#on.changed();
  }

  #draw() {
    this.#grow();
    const left = LIMIT.CONTENT - characters(cleaned(this.#field.value));
    this.#count.textContent = left < 0 ? words.over(-left) : left <= NEAR_LIMIT ? words.left(left) : "";
    this.#count.classList.toggle("over", left < 0);
    this.#field.setAttribute("aria-invalid", String(left < 0));
    this.#button.disabled = left < 0 || this.#field.disabled;
  }

  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }
}
