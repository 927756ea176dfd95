import {ERROR, newRef} from "../../client/protocol.js";
import {errorWords, words} from "../shell/words.js";

/** Milliseconds that the server's clock may be behind this browser's, when the two tell the same message apart. */
const CLOCKS_APART = 60_000;

/** Messages of ours on their way, in the order in which they will be said. Pure. */
export class PendingMessages {
  #entries = []; // {ref, content, replyTo?, at, failed: reason or null, held: code or null, claim: id or null}

  /** What is to be shown. An entry that has arrived already, by the look of it, is not shown twice. */
  get entries() {
    return this.#entries.filter(({claim}) => claim === null);
  }

  add({ref, content, replyTo, at}) {
    if (this.#find(ref)) return;
    this.#entries.push({ref, content, replyTo, at, failed: null, held: null, claim: null});
  }

  /**
   * What an earlier life of this page left behind. It may be among `messages` already, its ack lost with that page.
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

  /** The server wants it later: why. */
  hold(ref, code) {
    const entry = this.#find(ref);
    if (entry) entry.held = code;
  }

  /** Try a failed one again: it moves to the end, where it will be. Returns it. */
  retry(ref) {
    const entry = this.take(ref);
    if (entry) this.#entries.push(Object.assign(entry, {failed: null, held: null}));
    return entry;
  }

  /**
   * After a reconnect a message can come before its ack. Until the ack tells its id, the same words from us
   * are taken for it; if they were others (another tab's), the ack sets it right.
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

  /** The log is of another life: nothing of ours is in it for sure. */
  unclaim() {
    for (const entry of this.#entries) entry.claim = null;
  }

  #find(ref) {
    return this.#entries.find((entry) => entry.ref === ref);
  }
}

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
