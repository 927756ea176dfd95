import {ERROR, newRef} from "../../client/protocol.js";
import {errorWords, words} from "../shell/words.js";

/** Milliseconds that the server's clock may be behind the browser's, when an entry is compared with a message. */
const CLOCKS_APART = 60_000;

/** The reader's pending messages, in sending order. Pure. */
export class PendingMessages {
  #entries = []; // {ref, content, replyTo?, at, failed: reason or null, held: code or null, claim: id or null}

  /** The entries to show. An entry whose message seems to have arrived is left out. */
  get entries() {
    return this.#entries.filter(({claim}) => claim === null);
  }

  add({ref, content, replyTo, at}) {
    if (this.#find(ref)) return;
    this.#entries.push({ref, content, replyTo, at, failed: null, held: null, claim: null});
  }

  /**
   * An entry of an earlier page. It may be among `messages` already, if its ack was lost with that page.
   * @param {string | null} [failed] why it was refused
   */
  restore(entry, messages, failed = null) {
    if (this.#find(entry.ref)) return;
    this.add(entry);
    if (failed !== null) this.fail(entry.ref, failed);
    else this.#find(entry.ref).claim = messages.find((message) => this.#looksLike(entry, message))?.id ?? null;
  }

  #looksLike(entry, {id, own, content, timestamp}) {
    const taken = this.#entries.some(({claim}) => claim === id);
    return !taken && own && content === entry.content && timestamp > entry.at - CLOCKS_APART;
  }

  /** Take an entry out. Returns it, or undefined. */
  take(ref) {
    const entry = this.#find(ref);
    this.#entries = this.#entries.filter((other) => other !== entry);
    return entry;
  }

  fail(ref, reason) {
    const entry = this.#find(ref);
    if (entry) Object.assign(entry, {failed: reason, claim: null});
  }

  /** The server deferred it; `code` is the reason. */
  hold(ref, code) {
    const entry = this.#find(ref);
    if (entry) entry.held = code;
  }

  /** Retry a failed one: it moves to the end. Returns it. */
  retry(ref) {
    const entry = this.take(ref);
    if (entry) this.#entries.push(Object.assign(entry, {failed: null, held: null}));
    return entry;
  }

  /**
   * After a reconnect a message can arrive before its ack. Until the ack gives its id, a message of ours with the same
   * text is taken for it; if that was another one (another tab's), the ack corrects it.
   */
  claim(message) {
    const entry = this.#entries.find(
      ({claim, failed, content}) => claim === null && failed === null && content === message.content,
    );
    if (entry) entry.claim = message.id;
  }

  /** The sign-in has ended. */
  clear() {
    this.#entries = [];
  }

  /** The log has a new epoch: none of our entries is known to be in it. */
  unclaim() {
    for (const entry of this.#entries) entry.claim = null;
  }

  #find(ref) {
    return this.#entries.find((entry) => entry.ref === ref);
  }
}

/** Sends the reader's messages: each is shown in the log at once, with its state. */
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

  /** The server knows another message by this ref, and would refuse this one again and again. */
  #isSpent(ref) {
    return this.#client.failed(this.#room).some(({ref: other, failed}) => other === ref && failed.code === ERROR.REF_REUSED);
  }

  /** Discard a refused one. Returns it. */
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

  /** Show the messages that an earlier page left in the store. */
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
