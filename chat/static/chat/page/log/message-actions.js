import {refusedWords} from "../shell/words.js";

/**
 * What the reader does to messages: it is shown at once, and taken back with a reason when the server refuses.
 * Pure but for the client and the clock.
 */
export class MessageActions {
  #client;
  #room;
  #timeline;
  #onChange;
  #onRefused;

  /**
   * @param {object} options
   * @param {() => void} options.onChange something is to be drawn
   * @param {(refused: {kind: string, message: object, content?: string, reason: string}) => void} options.onRefused
   */
  constructor({client, room, timeline, onChange, onRefused}) {
    this.#client = client;
    this.#room = room;
    this.#timeline = timeline;
    this.#onChange = onChange;
    this.#onRefused = onRefused;
  }

  edit(message, content) {
    if (content === message.content) return;
    this.#do(message, {kind: "edit", content, at: Date.now()}, (id) => this.#client.edit(this.#room, id, content));
  }

  remove(message) {
    this.#do(message, {kind: "delete"}, (id) => this.#client.remove(this.#room, id));
  }

  react(message, emoji, on) {
    this.#do(message, {kind: "react", emoji, on}, (id) => this.#client.react(this.#room, id, emoji, on));
  }

  async #do(message, change, ask) {
    const {optimistic} = this.#timeline;
    const token = optimistic.add(message.id, change);
    this.#onChange();
    try {
      const {seq} = await ask(message.id);
      optimistic.settle(token, seq);
    } catch (error) {
      const shown = optimistic.drop(token);
      if (shown) this.#onRefused({...change, message, reason: refusedWords(change.kind, error)});
    }
    this.#onChange();
  }
}
