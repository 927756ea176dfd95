import {elements, make} from "../shell/dom.js";
import {beginning, words} from "../shell/words.js";

/** What the composer is for: something new ("say"), an answer ("reply"), or another text for a message ("edit"). */
export class ComposerMode {
  kind = "say";
  message = null; // that is answered or edited; {id, unknown: true} while only a kept draft tells of it
  #composer;
  #box;
  #label;
  #text;
  #sendWord;
  #onChange;
  #before = ""; // what stood in the composer before an edit

  /**
   * @param {object} options
   * @param {import("./composer.js").Composer} options.composer
   * @param {() => void} options.onChange
   */
  constructor({composer, onChange}) {
    const parts = elements("intentBox", "intentLabel", "intentText", "intentCancel", "sendWord");
    const {intentBox, intentLabel, intentText, intentCancel, sendWord} = parts;
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
    this.#before = this.#composer.text;
    this.#set("edit", message);
    this.#composer.text = text;
  }

  /** The text being written, as it is kept (drafts.js); null if there is none. */
  get draft() {
    const {text} = this.#composer;
    if (this.kind === "edit" && text !== this.message.content) {
      return {kind: "edit", id: this.message.id, text, before: this.#before};
    }
    const written = this.kind === "edit" ? this.#before : text;
    if (!written.trim()) return null;
    return this.kind === "reply" ? {kind: "reply", id: this.message.id, text} : {kind: "say", text: written};
  }

  /** Go on with what was kept, in the place of what stands there. The focus stays where it is. */
  restore({kind, text, before = ""}, message) {
    this.#before = before;
    this.#composer.text = text;
    this.#show(kind, message);
  }

  /** The message that a kept draft is for is known now. */
  learn(message) {
    this.#show(this.kind, message);
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

  /**
   * A message is gone: it can't be edited or answered any more. Text written for it stays, as a new message.
   * Returns whether there was any.
   */
  forget(id) {
    if (!this.message || this.message.id !== id) return false;
    const {draft} = this;
    const texts = draft?.kind === "edit" ? [draft.before, draft.text] : [draft?.text];
    this.restore({kind: "say", text: texts.filter(Boolean).join("\n")}, null);
    return draft !== null && draft.kind !== "say";
  }

  /** The text of an edit goes, what stood there before comes back. */
  #restore() {
    if (this.kind === "edit") this.#composer.text = this.#before;
    this.#before = "";
  }

  #set(kind, message) {
    this.#show(kind, message);
    this.#composer.focus();
  }

  #show(kind, message) {
    this.kind = kind;
    this.message = message;
    this.#draw();
    this.#onChange();
  }

  #draw() {
    const {kind, message} = this;
    this.#box.hidden = kind === "say";
    this.#sendWord.textContent = kind === "edit" ? words.save : words.send;
    if (!message) return;
    const name = make("bdi", {}, message.username ?? words.quoteWanted);
    this.#label.replaceChildren(...(kind === "edit" ? [words.editing] : [words.replyTo, name]));
    this.#text.textContent = kind === "edit" || message.unknown ? "" : beginning(message);
  }
}
