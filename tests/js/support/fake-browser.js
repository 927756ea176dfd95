/**
 * A browser with tabs that share a database and locks, and that crash: as much of IndexedDB and of the Web Locks as
 * the store uses. A crashed tab's open transactions never were, its locks are free, and it receives nothing any more.
 */

import {settle} from "./helpers.js";

const never = new Promise(() => {});

export class FakeBrowser {
  databases = new Map(); // name → {records: key → record, queue: transactions}
  #locks = [];

  /** @param {string[]} faults names of the faults of this tab, see `fails`; the set may change at any time */
  tab(...faults) {
    const tab = {alive: true, faults: new Set(faults)};
    const locks = {request: (name, ...rest) => this.#request(tab, name, rest.length > 1 ? rest[0] : {}, rest.at(-1))};
    const indexedDB = {open: (name) => open(this, tab, name)};
    return Object.assign(tab, {locks, indexedDB, crash: () => this.#crash(tab)});
  }

  /** All records of a database, as they would be found after everybody crashed. */
  records(name = "chat.outbox") {
    return [...(this.databases.get(name)?.records.values() ?? [])];
  }

  async #request(tab, name, {ifAvailable = false}, work) {
    await settle();
    if (!tab.alive) return never;
    if (tab.faults.has("locks")) throw new Error("SecurityError");
    if (ifAvailable && this.#locks.some((lock) => lock.name === name)) return work(null);
    const lock = {name, tab};
    const before = this.#locks.filter((other) => other.name === name);
    lock.free = new Promise((resolve) => (lock.release = resolve));
    this.#locks.push(lock);
    await Promise.all(before.map(({free}) => free));
    if (!tab.alive) return never;
    try {
      return await work({name});
    } finally {
      this.#release(lock);
    }
  }

  #crash(tab) {
    tab.alive = false;
    for (const lock of this.#locks.filter((other) => other.tab === tab)) this.#release(lock);
  }

  #release(lock) {
    this.#locks = this.#locks.filter((other) => other !== lock);
    lock.release();
  }
}

/** Whether something goes wrong: "open throws" always, "open throws once" the next time. */
function fails(tab, fault) {
  return tab.faults.has(fault) || tab.faults.delete(`${fault} once`);
}

function open(browser, tab, name) {
  if (fails(tab, "open throws")) throw new Error("SecurityError");
  const request = {};
  if (fails(tab, "open hangs")) return request;
  settle().then(() => {
    if (!tab.alive) return;
    if (fails(tab, "open fails")) return refuse(request, "VersionError");
    request.result = new Database(browser, tab, name);
    tab.database = request.result;
    if (!browser.databases.has(name)) request.onupgradeneeded?.({target: request});
    request.onsuccess?.({target: request});
  });
  return request;
}

function refuse(request, name) {
  request.error = new Error(name);
  request.onerror?.({target: request});
}

class Database {
  constructor(browser, tab, name) {
    Object.assign(this, {browser, tab, name, closed: false});
  }

  createObjectStore(store, {keyPath}) {
    this.browser.databases.set(this.name, {keyPath, records: new Map(), queue: Promise.resolve()});
  }

  close() {
    this.closed = true;
  }

  transaction() {
    if (this.closed || fails(this.tab, "transaction throws")) throw new Error("InvalidStateError");
    const database = this.browser.databases.get(this.name);
    const transaction = new Transaction(this.tab, database);
    database.queue = database.queue.then(() => transaction.run()); // one writes at a time
    return transaction;
  }
}

class Transaction {
  #requests = [];

  constructor(tab, database) {
    Object.assign(this, {tab, database, error: null});
  }

  objectStore() {
    const add = (fault, work) => {
      if (fails(this.tab, `${fault} throws`)) throw new Error("DataCloneError");
      const request = {fault, work};
      this.#requests.push(request);
      return request;
    };
    return {
      getAll: () => add("read", (records) => [...records.values()].map((record) => structuredClone(record))),
      put: (record) => {
        const copy = structuredClone(record);
        return add("put", (records) => void records.set(copy[this.database.keyPath], copy));
      },
      delete: (key) => add("delete", (records) => void records.delete(key)),
    };
  }

  async run() {
    const records = new Map(this.database.records);
    for (await settle(); this.tab.alive && this.#requests.length; await settle()) {
      const request = this.#requests.shift();
      if (fails(this.tab, `${request.fault} fails`)) return this.#abort("UnknownError");
      request.result = request.work(records);
      try {
        request.onsuccess?.({target: request});
      } catch {
        return this.#abort("AbortError");
      }
    }
    if (!this.tab.alive) return undefined;
    if (fails(this.tab, "commit fails")) return this.#abort("QuotaExceededError");
    this.database.records = records;
    return this.oncomplete?.({target: this});
  }

  #abort(name) {
    this.error = new Error(name);
    this.onabort?.({target: this});
  }
}

/** The faults that a store's methods may meet. */
export const STORE_FAULTS = [
  "open throws",
  "open fails",
  "transaction throws",
  "read throws",
  "read fails",
  "put throws",
  "put fails",
  "delete throws",
  "delete fails",
  "commit fails",
];
