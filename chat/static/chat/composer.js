import {characters, LIMIT} from "./protocol.js";
import {words} from "./words.js";

/** Characters before the limit from which the count is shown. */
const NEAR_LIMIT = 400;
/** What the server refuses in a text, as pasted from elsewhere: control characters but tab and line breaks. */
const CONTROL = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/g;

/** The text as it is sent: without control characters and without the blank lines around it. */
export function cleaned(text) {
  return text.replace(CONTROL, "").replace(/^\s*\n/, "").trimEnd();
}

/** Where a message is written. Enter sends, Shift+Enter breaks the line, and an input method has both first. */
export class Composer {
  #field;
  #count;
  #button;
  #onSend;

  /** @param {{form, field, count, button, onSend: (text: string) => void, onTyping: () => void}} options */
  constructor({form, field, count, button, onSend, onTyping}) {
    this.#field = field;
    this.#count = count;
    this.#button = button;
    this.#onSend = onSend;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    field.addEventListener("keydown", (event) => this.#key(event));
    field.addEventListener("input", () => {
      this.#changed();
      if (field.value) onTyping();
    });
    this.#changed(); // a reload may have kept what was written
  }

  focus() {
    this.#field.focus();
  }

  #key(event) {
    // While an input method composes, Enter chooses its word; Safari tells it by the key code only.
    const composing = event.isComposing || event.keyCode === 229;
    if (event.key !== "Enter" || event.shiftKey || event.altKey || composing) return;
    event.preventDefault();
    this.#send();
  }

  #send() {
    const text = cleaned(this.#field.value);
    if (!text.trim() || characters(text) > LIMIT.CONTENT) return;
    this.#field.value = "";
    this.#changed();
    this.#field.focus();
    this.#onSend(text);
  }

  #changed() {
    this.#grow();
    const left = LIMIT.CONTENT - characters(cleaned(this.#field.value));
    this.#count.textContent = left < 0 ? words.over(-left) : left <= NEAR_LIMIT ? words.left(left) : "";
    this.#count.classList.toggle("over", left < 0);
    this.#field.setAttribute("aria-invalid", String(left < 0));
    this.#button.disabled = left < 0;
  }

  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }
}
