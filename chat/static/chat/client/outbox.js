/** Milliseconds that a store may take to tell what it has: some browsers never answer when one is opened. */
const PATIENCE = 3_000;
/** Refused messages that are kept. */
const FAILED_LIMIT = 20;

/**
 * What the server has not acknowledged, in the order in which it was said: messages, and changes of messages.
 *
 * An entry is {ref, room, you, at, tries, order, epoch?} with {content, replyTo?} or {change}: `you` is the key of who
 * wrote it (person.js), `at` when (milliseconds since 1970), `tries` how often it was handed to a socket, `epoch` which
 * life of the room an id in it is of, `change` the command that changes a message. A message that was refused has
 * `failed`: {code, message, field?}.
 *
 * An entry goes to a socket of the same person only; for another it is dropped. An entry written before the server
 * told the key belongs to the first person that it tells.
 *
 * Memory is what counts. Messages are also put into a store, where they survive the page; one that fails is as good
 * as none. Messages without a key are not stored: anybody could claim the name later. Nor are changes: their target may
 * be another thing to the user of the next page.
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
   * @param {(entries: object[]) => void} options.onArrival there may be more to send; and messages of another page that
   *   came later than `restored`
   */
  constructor({store = null, person, limit = 100, clock, onArrival}) {
    this.#store = store;
    this.#person = person;
    this.#limit = limit;
    this.#onArrival = onArrival;
    this.#ready = !store;
    /** Settles when all that the store kept is here, or was waited for in vain. */
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

  /** What waits in one room, oldest first. */
  of(room) {
    return this.#entries.filter((entry) => entry.room === room && waits(entry));
  }

  /** The messages of one room that were refused. */
  failed(room) {
    return this.#entries.filter((entry) => entry.room === room && entry.failed);
  }

  /** The next to send: nothing while older messages may still come from the store, and nothing of another person. */
  first(room, {changesOnly = false} = {}) {
    if (!this.#ready) return undefined;
    return this.of(room).find((entry) => this.#isOurs(entry) && (entry.change || !changesOnly));
  }

  /** Takes the place of a failed one with the same ref. */
  add(entry) {
    this.#drop(entry.ref);
    const at = Date.now();
    const order = Math.max(at, (this.#entries.at(-1)?.order ?? 0) + 1); // a wall clock may be set back
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

  /** It was refused: it stays, and is not sent. */
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

  /** The server has told who the person is. Returns what is another's: it is here no more. */
  identified() {
    const others = this.#entries.filter((entry) => !this.#isOurs(entry));
    for (const {ref} of others) this.remove(ref);
    for (const entry of this.#entries.filter(({you}) => you === null)) {
      entry.you = this.#person.key;
      this.#put(entry);
    }
    return others;
  }

  /** The sign-in has ended: nothing of it stays, in memory or in the store. */
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
      // Full, blocked or forbidden: the entry is still in memory, which is what a page without a store has.
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
      // As above: there is nothing that could be restored.
    }
  }

  #take(entries) {
    const known = entries.filter((entry) => isMessage(entry) && !this.#get(entry.ref));
    // While the server has not told who the person is, they wait for that.
    const fresh = known.filter((entry) => this.#person.key === null || this.#isOurs(entry));
    for (const {ref} of known.filter((entry) => !fresh.includes(entry))) this.#keep((store) => store.delete(ref));
    this.#entries.push(...fresh.map((entry) => ({...entry, tries: 0})));
    // What comes later must not push itself before one that is under way.
    if (this.#ready) this.#onArrival(fresh);
    else this.#entries.sort((a, b) => a.order - b.order);
  }
}

function waits(entry) {
  return !entry.failed;
}

/** Somebody else may have written into the store, or a later version of this. */
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
