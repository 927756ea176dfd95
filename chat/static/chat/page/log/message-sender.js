import {ERROR} from "../../client/protocol.js";
import {newRef} from "../../client/refs.js";
import {errorWords, words} from "../shell/words.js";

/** What the reader says: it stands in the log at once, and there it is told what becomes of it. */
export class MessageSender {
  #client;
  #room;
  #timeline;
  #notifications;
  #onChange;

  /** @param {{client, room: string, timeline, attention, onChange: () => void}} options */
  constructor({client, room, timeline, notifications, onChange}) {
    this.#client = client;
    this.#room = room;
    this.#timeline = timeline;
    this.#notifications = notifications;
    this.#onChange = onChange;
    client.addEventListener("sent", ({detail}) => this.#sent(detail));
    client.addEventListener("later", ({detail}) => this.#later(detail));
    client.addEventListener("refused", ({detail}) => this.#refused(detail));
    client.addEventListener("pending", ({detail}) => this.#restore(detail));
  }

  /** @param {number} [replyTo] the id of the message that this answers */
  say(content, replyTo) {
    const ref = newRef();
    this.#timeline.pendingMessages.add({ref, content, replyTo, at: Date.now()});
    this.#client.send(this.#room, content, {ref, replyTo});
    this.#onChange();
  }

  retry(ref) {
    if (this.#isSpent(ref)) {
      const {content, replyTo} = this.discard(ref);
      this.say(content, replyTo);
      return;
    }
    const entry = this.#timeline.pendingMessages.retry(ref);
    if (entry) this.#client.send(this.#room, entry.content, {ref, replyTo: entry.replyTo});
    this.#onChange();
  }

  /** The server knows another message by this ref: with it this one is refused again and again. */
  #isSpent(ref) {
    return this.#client.failed(this.#room).some(({ref: other, failed}) => other === ref && failed.code === ERROR.REF_REUSED);
  }

  /** Forget a refused one. Returns it. */
  discard(ref) {
    const entry = this.#timeline.pendingMessages.take(ref);
    this.#client.discard(ref);
    this.#onChange();
    return entry;
  }

  /** The sign-in has ended. */
  forget() {
    this.#timeline.pendingMessages.clear();
    this.#onChange();
  }

  /** Show what an earlier life of this page left behind. */
  async restore() {
    await this.#client.restored;
    const left = [...this.#client.pending(this.#room), ...this.#client.failed(this.#room)];
    for (const entry of left) this.#restore(entry);
  }

  #restore(entry) {
    const {pendingMessages, live} = this.#timeline;
    pendingMessages.restore(entry, live.messages, entry.failed ? errorWords(entry.failed) : null);
    this.#onChange();
  }

  #sent({ref, ...message}) {
    this.#timeline.confirm(ref, message);
    this.#onChange();
  }

  #later({ref, error}) {
    this.#timeline.pendingMessages.hold(ref, error.code);
    this.#onChange();
  }

  #refused({ref, error}) {
    const reason = errorWords(error);
    this.#timeline.pendingMessages.fail(ref, reason);
    this.#notifications.say(words.notSent(reason));
    this.#onChange();
  }
}
