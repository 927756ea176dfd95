import {make} from "../shell/dom.js";
import {LENGTHS} from "../shell/room-words.js";

/** The dialog that asks before an action that affects others. */
export class ConfirmDialog {
  #dialog;
  #parts;
  #answer = () => {};
  #offered = null;

  /** @param {{decide: HTMLDialogElement} & Record<string, HTMLElement>} parts elements of the dialog, by their names in the page */
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
   * @param {boolean} [question.length] also ask for a duration
   * @param {boolean} [question.reason] also ask for a reason
   * @param {Promise<string | null>} [question.address] the label of a checkbox, once it is known; null: no
   *   checkbox
   * @returns {Promise<{reason: string, seconds?: number, address?: boolean} | null>} null: cancelled
   */
  ask({title, hint, confirm, length = false, reason = false, address = null}) {
    const {decideTitle, decideHint, decideDo, decideLongBox, decideLong, decideReasonBox, decideReason} = this.#parts;
    decideTitle.textContent = title;
    decideHint.textContent = hint;
    decideDo.textContent = confirm;
    decideLongBox.hidden = !length;
    decideReasonBox.hidden = !reason;
    decideReason.value = "";
    decideLong.selectedIndex = 0;
    this.#offer(address);
    this.#dialog.showModal();
    return new Promise((resolve) => (this.#answer = resolve));
  }

  /** The dialog does not wait for the label: the checkbox appears when it is known, if the same question is still open. */
  async #offer(address) {
    const {decideAddressBox, decideAddress, decideAddressWords} = this.#parts;
    decideAddressBox.hidden = true;
    decideAddress.checked = false;
    this.#offered = address;
    const words = await address;
    if (!words || this.#offered !== address) return;
    decideAddressWords.textContent = words;
    decideAddressBox.hidden = false;
  }

  get #given() {
    const {decideLong, decideReason, decideAddress} = this.#parts;
    return {
      reason: decideReason.value.trim(),
      seconds: decideLong.value ? Number(decideLong.value) : undefined,
      address: decideAddress.checked || undefined,
    };
  }

  #settle(answer) {
    this.#answer(answer);
    this.#answer = () => {};
  }
}
