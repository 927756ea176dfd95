import {elements, make} from "../shell/dom.js";
import {beginning, words} from "../shell/words.js";

/** The composer's mode: a new message ("say"), a reply ("reply"), or an edit of a message ("edit"). */
export class ComposerMode {
  kind = "say";
  message = null; // the message to reply to or edit, as it was then; {id, unknown: true} until a draft's message is loaded
  #composer;
  #box;
  #label;
  #text;
  #sendWord;
  #onChange;
  #before = ""; // the composer's text before an edit

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

  /** @param {string} [text] the initial text, if the server refused an earlier edit */
  edit(message, text = message.content) {
    this.#restore();
    this.#before = this.#composer.text;
    this.#set("edit", message);
    this.#composer.text = text;
  }

  /** The unsent text, as a draft (drafts.js), or null. */
  get draft() {
    const {text} = this.#composer;
    if (this.kind === "edit" && text !== this.message.content) {
      return {kind: "edit", id: this.message.id, text, before: this.#before};
    }
    const written = this.kind === "edit" ? this.#before : text;
    if (!written.trim()) return null;
    return this.kind === "reply" ? {kind: "reply", id: this.message.id, text} : {kind: "say", text: written};
  }

  /** Restore a draft, in place of the present text. The focus stays where it is. */
  restore({kind, text, before = ""}, message) {
    this.#before = before;
    this.#composer.text = text;
    this.#show(kind, message);
  }

  /** The message of the draft is loaded now. */
  learn(message) {
    this.#show(this.kind, message);
  }

  /** Back to a new message. Returns whether the mode was another. */
  end() {
    if (this.kind === "say") return false;
    this.#restore();
    this.#set("say", null);
    return true;
  }

  /** The composer's text is sent: return its mode and message, and start over. */
  take() {
    const {kind, message} = this;
    this.end();
    return {kind, message};
  }

  /**
   * A message is gone: it can't be edited or replied to any more. Its draft stays, as a new message. Returns whether there
   * was one.
   */
  forget(id) {
    if (!this.message || this.message.id !== id) return false;
    const {draft} = this;
    const texts = draft?.kind === "edit" ? [draft.before, draft.text] : [draft?.text];
    this.restore({kind: "say", text: texts.filter(Boolean).join("\n")}, null);
    return draft !== null && draft.kind !== "say";
  }

  /** Drop the text of an edit and restore the text before it. */
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
