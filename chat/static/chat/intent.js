import {make} from "./dom.js";
import {beginning, words} from "./words.js";

/** What the composer is for: something new ("say"), an answer ("reply"), or another text for a message ("edit"). */
export class Intent {
  kind = "say";
  message = null; // that is answered or edited
  #composer;
  #box;
  #label;
  #text;
  #sendWord;
  #onChange;
  #draft = ""; // what stood in the composer before an edit

  /**
   * @param {object} options
   * @param {import("./composer.js").Composer} options.composer
   * @param {HTMLElement} options.intentBox shown above the composer, with a label, a text and a button to cancel
   * @param {HTMLElement} options.sendWord what is written on the composer's button
   * @param {() => void} options.onChange
   */
  constructor({composer, intentBox, intentLabel, intentText, intentCancel, sendWord, onChange}) {
    this.#composer = composer;
    this.#box = intentBox;
    this.#label = intentLabel;
    this.#text = intentText;
    this.#sendWord = sendWord;
    this.#onChange = onChange;
    intentCancel.addEventListener("click", () => this.end());
  }

  reply(message) {
    this.#restore();
    this.#set("reply", message);
  }

  /** @param {string} [text] to begin with: what was refused before */
  edit(message, text = message.content) {
    this.#restore();
    this.#draft = this.#composer.text;
    this.#set("edit", message);
    this.#composer.text = text;
  }

  /** Back to something new. Returns whether it was anything else. */
  end() {
    if (this.kind === "say") return false;
    this.#restore();
    this.#set("say", null);
    return true;
  }

  /** The composer's text goes: what was it for? */
  take() {
    const {kind, message} = this;
    this.end();
    return {kind, message};
  }

  /** A message is gone: it can't be edited or answered any more. */
  forget(id) {
    if (this.message?.id === id) this.end();
  }

  /** The text of an edit goes, what stood there before comes back. */
  #restore() {
    if (this.kind === "edit") this.#composer.text = this.#draft;
    this.#draft = "";
  }

  #set(kind, message) {
    this.kind = kind;
    this.message = message;
    this.#draw();
    this.#composer.focus();
    this.#onChange();
  }

  #draw() {
    const {kind, message} = this;
    this.#box.hidden = kind === "say";
    this.#sendWord.textContent = kind === "edit" ? words.save : words.send;
    if (!message) return;
    const name = make("bdi", {}, message.username);
    this.#label.replaceChildren(...(kind === "edit" ? [words.editing] : [words.replyTo, name]));
    this.#text.textContent = kind === "edit" ? "" : beginning(message);
  }
}
