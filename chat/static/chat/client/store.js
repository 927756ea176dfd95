/**
 * Pending messages, kept in IndexedDB: they survive a reload, a crash of the tab, and the end of the browser.
 *
 * All tabs of a site share the database, so each entry bears its owner, the key of a person (person.js), and its tab. A
 * page that loads removes entries of other owners: a browser has one person at a time, and the messages of one are not
 * for the next. A tab holds a Web Lock as long as it lives: entries of one that lives
 * are its own business, those of a dead one go to the next that loads, or to one that waited for its end. Where there
 * are no Web Locks (pages without HTTPS) any tab that loads takes all. Then two may send one message, which the server
 * takes once.
 *
 * Nothing here is needed for sending: each method may reject, and the outbox goes on without.
 */

import {newRef} from "./protocol.js";

const VERSION = 1;
const ENTRIES = "entries";
/** Milliseconds after which an abandoned message is not sent any more. */
const KEPT = 30 * 24 * 3_600_000;
/** Milliseconds in which a tab that reloads comes for its own entries, before another tab takes them. */
const GRACE = 5_000;

/**
 * @param {object} options
 * @param {string} options.owner key of the user whose entries these are, as the server gave it
 * @param {string} [options.room] entries of other rooms are left to their pages
 * @param {string} [options.name] the database's name
 * @param {IDBFactory} [options.indexedDB]
 * @param {LockManager} [options.locks]
 * @param {(ms: number) => Promise<void>} [options.pause]
 * @returns {Store} it is opened when it is first used
 */
export function openStore({
  owner,
  room,
  name = "chat.outbox",
  indexedDB = ofBrowser(),
  locks = globalThis.navigator?.locks,
  pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
}) {
  return new Store({owner, room, name, indexedDB, locks, pause});
}

/** Some browsers throw at the very name if storage is forbidden. */
function ofBrowser() {
  try {
    return globalThis.indexedDB;
  } catch {
    return undefined;
  }
}

class Store {
  #owner;
  #room;
  #name;
  #indexedDB;
  #locks;
  #pause;
  #tab = newRef();
  #database = null; // promise of an open one
  #holding = null; // promise of whether other tabs can tell that this one lives

  constructor({owner, room, name, indexedDB, locks, pause}) {
    this.#owner = owner;
    this.#room = room;
    this.#name = name;
    this.#indexedDB = indexedDB;
    this.#locks = locks;
    this.#pause = pause;
  }

  /**
   * The entries that other tabs left behind. They are this tab's from now on.
   * @param {(entries: object[]) => void} [later] is given those of tabs that end while this one is open
   * @returns {Promise<object[]>}
   */
  async load(later = () => {}) {
    const tabs = await this.#others();
    if (!(await this.#held)) return this.#adopt((tab) => tabs.has(tab));
    const found = await Promise.all([...tabs].map((tab) => this.#inherit(tab, {ifAvailable: true})));
    for (const [i, tab] of [...tabs].entries()) if (!found[i]) this.#waitFor(tab, later);
    return found.flatMap((entries) => entries ?? []);
  }

  /** Keep an entry, in place of one with the same ref. */
  async put(entry) {
    const record = {...entry, owner: this.#owner, tab: this.#tab};
    await this.#held; // an entry of a tab that seems dead would be taken away
    await this.#write((entries) => entries.put(record));
  }

  async delete(ref) {
    await this.#held; // as the put did, so that this comes after it
    await this.#write((entries) => entries.delete(ref));
  }

  /** Remove what is of other owners, and what is too old. */
  async sweep() {
    const databases = await this.#indexedDB.databases?.();
    // There is nothing to open if nobody has written a message.
    if (databases?.every(({name}) => name !== this.#name)) return;
    await this.#others();
  }

  /** Remove everything, whosever it is. */
  async clear() {
    await this.#held; // as the puts did, so that this comes after them
    await this.#each(({ref}, entries) => entries.delete(ref));
  }

  // --- Tabs ---

  get #held() {
    return (this.#holding ??= this.#hold());
  }

  async #hold() {
    const {promise, resolve} = withResolvers();
    const forEver = () => {
      resolve(true);
      return new Promise(() => {}); // the lock's end is the tab's
    };
    try {
      this.#locks.request(this.#lockOf(this.#tab), forEver).catch(() => resolve(false));
    } catch {
      return false; // there are none
    }
    return promise;
  }

  #lockOf(tab) {
    return `${this.#name} ${tab}`;
  }

  /** The entries of a tab once it is dead. Null where it lives and `options` don't wait. */
  #inherit(tab, options = {}) {
    return this.#locks.request(this.#lockOf(tab), options, (lock) => lock && this.#adopt((other) => other === tab));
  }

  async #waitFor(tab, later) {
    try {
      await this.#locks.request(this.#lockOf(tab), () => {});
      await this.#pause(GRACE);
      const entries = await this.#inherit(tab);
      if (entries.length) later(entries);
    } catch {
      // The next tab that loads will find them.
    }
  }

  // --- The database ---

  /** The other tabs that have entries for this one. Entries that are too old, or of others, are removed. */
  async #others() {
    const tabs = new Set();
    await this.#each((record, entries) => {
      if (record.owner !== this.#owner || !(Date.now() - record.at < KEPT)) entries.delete(record.ref);
      else if (this.#isForUs(record) && record.tab !== this.#tab) tabs.add(record.tab);
    });
    return tabs;
  }

  /** Make the entries of some tabs this one's. All or none: it is one transaction. */
  async #adopt(isOf) {
    const adopted = [];
    await this.#each((record, entries) => {
      if (!this.#isForUs(record) || !isOf(record.tab)) return;
      const {owner, tab, ...entry} = record;
      adopted.push(entry);
      entries.put({...record, tab: this.#tab});
    });
    return adopted;
  }

  #isForUs({owner, room}) {
    return owner === this.#owner && room === (this.#room ?? room);
  }

  #each(visit) {
    return this.#write((entries) => {
      entries.getAll().onsuccess = ({target}) => {
        for (const record of target.result) visit(record, entries);
      };
    });
  }

  /** Transactions that write come one after another, in the order in which they are made. */
  async #write(work) {
    const transaction = await this.#begin().catch(() => this.#begin());
    const {promise, resolve, reject} = withResolvers();
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
    work(transaction.objectStore(ENTRIES));
    return promise;
  }

  /** Fails once where the browser has ended the connection without a word; then the next one is another. */
  async #begin() {
    const opening = (this.#database ??= this.#open());
    try {
      return (await opening).transaction(ENTRIES, "readwrite");
    } catch (error) {
      if (this.#database === opening) this.#database = null;
      throw error;
    }
  }

  #open() {
    const {promise, resolve, reject} = withResolvers();
    const request = this.#indexedDB.open(this.#name, VERSION);
    request.onupgradeneeded = () => request.result.createObjectStore(ENTRIES, {keyPath: "ref"});
    request.onerror = () => reject(request.error);
    request.onsuccess = () => resolve(this.#opened(request.result));
    return promise;
  }

  #opened(database) {
    const forget = () => (this.#database = null); // the next use opens it again
    database.onclose = forget; // the user cleared the site's data
    database.onversionchange = () => {
      database.close(); // a later version in another tab must not wait for this one
      forget();
    };
    return database;
  }
}

/** Promise.withResolvers, which browsers have since 2024. */
function withResolvers() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, {resolve, reject}));
  return parts;
}
