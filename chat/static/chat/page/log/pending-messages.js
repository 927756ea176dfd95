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
