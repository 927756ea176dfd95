import {make} from "./dom.js";
import {LENGTHS} from "./room-words.js";

/** The dialog that asks before something is done that others feel. */
export class Deciding {
  #dialog;
  #parts;
  #answer = () => {};

  /** @param {{decide: HTMLDialogElement} & Record<string, HTMLElement>} parts of the dialog, by their names in the page */
  constructor({decide, ...parts}) {
    this.#dialog = decide;
    this.#parts = parts;
    const options = LENGTHS.map(([seconds, words]) => make("option", {value: seconds ?? ""}, words));
    parts.decideLong.replaceChildren(...options);
    parts.decideForm.addEventListener("submit", () => this.#settle(this.#given));
    parts.decideCancel.addEventListener("click", () => decide.close());
    decide.addEventListener("close", () => this.#settle(null));
  }

  /**
   * @param {object} question
   * @param {boolean} [question.length] for how long is asked too
   * @param {boolean} [question.reason] why is asked too
   * @returns {Promise<{reason: string, seconds?: number} | null>} null: rather not
   */
  ask({title, hint, confirm, length = false, reason = false}) {
    const {decideTitle, decideHint, decideDo, decideLongBox, decideLong, decideReasonBox, decideReason} = this.#parts;
    decideTitle.textContent = title;
    decideHint.textContent = hint;
    decideDo.textContent = confirm;
    decideLongBox.hidden = !length;
    decideReasonBox.hidden = !reason;
    decideReason.value = "";
    decideLong.selectedIndex = 0;
    this.#dialog.showModal();
    return new Promise((resolve) => (this.#answer = resolve));
  }

  get #given() {
    const {decideLong, decideReason} = this.#parts;
    return {reason: decideReason.value.trim(), seconds: decideLong.value ? Number(decideLong.value) : undefined};
  }

  #settle(answer) {
    this.#answer(answer);
    this.#answer = () => {};
  }
}
