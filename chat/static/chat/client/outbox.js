/** Milliseconds that a store may take to load: some browsers never answer when one is opened. */
const PATIENCE = 3_000;
/** Refused messages that are kept. */
const FAILED_LIMIT = 20;

/**
 * The commands that the server has not acknowledged, in order: messages, and changes of messages.
 *
 * An entry is {ref, room, you, at, tries, order, epoch?} with {content, replyTo?} or {change}: `you` is its author's
 * key (person.js), `at` its time (milliseconds since 1970), `tries` how often it was sent, `epoch` the room's epoch that
 * an id in it belongs to, `change` the command that changes a message. A message that was refused has
 * `failed`: {code, message, field?}.
 *
 * An entry is sent over a socket of its author only; if another user signs in, it is dropped. An entry written before
 * the server sent a key belongs to the first user that it names.
 *
 * The entries in memory count. Messages are also put into a store, where they survive the page; a failing store is
 * ignored. Messages without a key are not stored: anybody could claim the name later. Changes are not stored either:
 * their target may look different on the next page.
 */
export class Outbox {
  #entries = [];
  #store;
  #limit;
  #person;
  #onArrival;
  #ready;

  /**
   * @param {object} options
   * @param {{load, put, delete}} [options.store] see store.js
   * @param {{key: string | null}} options.person
   * @param {number} [options.limit] waiting entries that are kept
   * @param {{setTimeout, clearTimeout}} options.clock
   * @param {(entries: object[]) => void} options.onArrival there may be more to send; given the messages of
   *   another page that arrived after `restored`
   */
  constructor({store = null, person, limit = 100, clock, onArrival}) {
    this.#store = store;
    this.#person = person;
    this.#limit = limit;
    this.#onArrival = onArrival;
    this.#ready = !store;
    /** Settles when the store's messages are loaded, or the wait for them timed out. */
    this.restored = this.#restore(clock);
  }

  get full() {
    return this.#entries.filter(waits).length >= this.#limit;
  }

  /** The entry that waits under this ref. */
  waiting(ref) {
    const entry = this.#get(ref);
    return entry && waits(entry) ? entry : undefined;
  }

  /** The waiting entries of one room, oldest first. */
  of(room) {
    return this.#entries.filter((entry) => entry.room === room && waits(entry));
  }

  /** The messages of one room that were refused. */
  failed(room) {
    return this.#entries.filter((entry) => entry.room === room && entry.failed);
  }

  /** The next entry to send: none while the store is loading, and none of another user. */
  first(room, {changesOnly = false} = {}) {
    if (!this.#ready) return undefined;
    return this.of(room).find((entry) => this.#isOurs(entry) && (entry.change || !changesOnly));
  }

  /** Takes the place of a failed one with the same ref. */
  add(entry) {
    this.#drop(entry.ref);
    const at = Date.now();
    const order = Math.max(at, (this.#entries.at(-1)?.order ?? 0) + 1); // the wall clock may be set back
    const added = {...entry, you: this.#person.key, at, order, tries: 0};
    this.#entries.push(added);
    this.#put(added);
  }

  tried(ref) {
    this.#get(ref).tries += 1;
  }

  /** Take an entry out. Returns it, or undefined when there is none with this ref. */
  remove(ref) {
    const entry = this.#drop(ref);
    if (entry && !entry.change) this.#keep((store) => store.delete(ref));
    return entry;
  }

  /** The server refused it: it stays, and is not sent. */
  fail(ref, {code, message, field}) {
    const entry = this.#get(ref);
    entry.failed = {code, message, field};
    this.#put(entry);
    const failed = this.#entries.filter((other) => other.failed);
    for (const old of failed.slice(0, -FAILED_LIMIT)) this.remove(old.ref);
  }

  dropChanges() {
    this.#entries = this.#entries.filter(({change}) => !change);
  }

  /** The server has identified the user. Removes other users' entries and returns them. */
  identified() {
    const others = this.#entries.filter((entry) => !this.#isOurs(entry));
    for (const {ref} of others) this.remove(ref);
    for (const entry of this.#entries.filter(({you}) => you === null)) {
      entry.you = this.#person.key;
      this.#put(entry);
    }
    return others;
  }

  /** The sign-in has ended: drop all entries, in memory and in the store. */
  clear() {
    this.#entries = [];
    this.#keep((store) => store.clear());
  }

  #isOurs({you}) {
    return (you ?? this.#person.key) === this.#person.key;
  }

  #get(ref) {
    return this.#entries.find((entry) => entry.ref === ref);
  }

  #drop(ref) {
    const entry = this.#get(ref);
    this.#entries = this.#entries.filter((other) => other !== entry);
    return entry;
  }

  // --- The store ---

  #put(entry) {
    if (!entry.change && entry.you) this.#keep((store) => store.put(entry));
  }

  async #keep(write) {
    try {
      if (this.#store) await write(this.#store);
    } catch {
      // The store is full, blocked or forbidden: the entry is still in memory, as on a page without a store.
    }
  }

  async #restore(clock) {
    if (!this.#store) return;
    let timer;
    const patience = new Promise((resolve) => (timer = clock.setTimeout(resolve, PATIENCE)));
    await Promise.race([this.#load(), patience]);
    clock.clearTimeout(timer);
    this.#ready = true;
    this.#onArrival([]);
  }

  async #load() {
    try {
      this.#take(await this.#store.load((later) => this.#take(later)));
    } catch {
      // As above: no entry can be restored.
    }
  }

  #take(entries) {
    const known = entries.filter((entry) => isMessage(entry) && !this.#get(entry.ref));
    // Before the server has identified the user, all entries are kept.
    const fresh = known.filter((entry) => this.#person.key === null || this.#isOurs(entry));
    for (const {ref} of known.filter((entry) => !fresh.includes(entry))) this.#keep((store) => store.delete(ref));
    this.#entries.push(...fresh.map((entry) => ({...entry, tries: 0})));
    // Later entries must not overtake the one that is in flight.
    if (this.#ready) this.#onArrival(fresh);
    else this.#entries.sort((a, b) => a.order - b.order);
  }
}

function waits(entry) {
  return !entry.failed;
}

/** Another script may have written into the store, or a later version of this one. */
function isMessage(entry) {
  return (
    typeof entry?.ref === "string" &&
    typeof entry.room === "string" &&
    typeof entry.you === "string" &&
    typeof entry.content === "string" &&
    Number.isFinite(entry.at) &&
    Number.isFinite(entry.order)
  );
}
