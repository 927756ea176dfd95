/** The store's entries, their owners, and the tab that inherits them. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {openStore} from "../../../chat/static/chat/client/store.js";
import {FakeBrowser, STORE_FAULTS} from "../support/fake-browser.js";
import {settle} from "../support/helpers.js";

const entry = (ref, more = {}) => ({ref, room: "lobby", content: ref, at: Date.now(), order: 1, ...more});
const refs = (entries) => entries.map(({ref}) => ref).sort();

/** A tab and its store. */
function opened(browser, {owner = "Ann", room, pause = settle} = {}) {
  const tab = browser.tab();
  return {tab, store: openStore({owner, room, indexedDB: tab.indexedDB, locks: tab.locks, pause})};
}

/** Let everything come to rest. */
async function rest() {
  for (let n = 0; n < 30; n += 1) await settle();
}

test("A stored entry is there after a crash, a deleted one is not.", async () => {
  const browser = new FakeBrowser();
  const {tab, store} = opened(browser);
  await store.put(entry("one", {content: "hi", replyTo: 7, order: 3}));
  await store.put(entry("two"));
  await store.delete("two");
  tab.crash();
  const found = await opened(browser).store.load();
  assert.equal(found.length, 1);
  const {at, ...kept} = found[0];
  assert.deepEqual(kept, {ref: "one", room: "lobby", content: "hi", replyTo: 7, order: 3});
});

test("Simultaneous operations of one tab are done in its order.", async () => {
  const browser = new FakeBrowser();
  const {store} = opened(browser);
  const again = entry("two", {order: 9});
  await Promise.all([store.put(entry("one")), store.delete("one"), store.put(entry("two")), store.put(again)]);
  assert.deepEqual(browser.records().map(({ref, order}) => [ref, order]), [["two", 9]]);
});

test("A living tab's entries are its own; when it dies they go to one who waited.", async () => {
  const browser = new FakeBrowser();
  const first = opened(browser);
  await first.store.put(entry("one"));
  const second = opened(browser);
  const later = [];
  assert.deepEqual(await second.store.load((entries) => later.push(...entries)), []);
  await rest();
  assert.deepEqual(later, []);
  first.tab.crash();
  await rest();
  assert.deepEqual(refs(later), ["one"]);
  assert.deepEqual(await opened(browser).store.load(), [], "they are the second tab's now");
});

test("A tab that reloads gets its entries before one that waited.", async () => {
  const browser = new FakeBrowser();
  const before = opened(browser);
  await before.store.put(entry("one"));
  const pauses = [];
  const other = opened(browser, {pause: (ms) => new Promise((resolve) => pauses.push({ms, resolve}))});
  const later = [];
  await other.store.load((entries) => later.push(...entries));
  before.tab.crash();
  await rest();
  assert.deepEqual(refs(await opened(browser).store.load()), ["one"]);
  assert.deepEqual(pauses.map(({ms}) => ms), [5_000]);
  pauses[0].resolve();
  await rest();
  assert.deepEqual(later, []);
});

test("A dead tab's entries go to one tab only, though several load at once.", async () => {
  const browser = new FakeBrowser();
  const dead = opened(browser);
  await dead.store.put(entry("one"));
  await dead.store.put(entry("two"));
  dead.tab.crash();
  const found = await Promise.all([1, 2, 3].map(() => opened(browser).store.load()));
  assert.deepEqual(refs(found.flat()), ["one", "two"]);
});

test("A tab that dies while it takes entries over leaves them to the next, at any moment.", async () => {
  for (let moment = 0; moment < 20; moment += 1) {
    const browser = new FakeBrowser();
    const dead = opened(browser);
    await dead.store.put(entry("one"));
    dead.tab.crash();
    const heir = opened(browser);
    heir.store.load();
    for (let n = 0; n < moment; n += 1) await settle();
    heir.tab.crash();
    assert.deepEqual(refs(await opened(browser).store.load()), ["one"], `after ${moment} turns`);
  }
});

test("Nothing can be seen of a tab before it can be seen to live.", async () => {
  const browser = new FakeBrowser();
  let hold;
  const request = (name, work) => new Promise((resolve) => (hold = () => resolve(work({name}))));
  const store = openStore({owner: "Ann", indexedDB: browser.tab().indexedDB, locks: {request}});
  const putting = store.put(entry("one"));
  await rest();
  assert.deepEqual(browser.records(), []);
  hold();
  await putting;
  assert.deepEqual(refs(browser.records()), ["one"]);
});

test("In another room one gets nothing of this one, and leaves it there.", async () => {
  const browser = new FakeBrowser();
  const dead = opened(browser, {room: "lobby"});
  await dead.store.put(entry("one"));
  dead.tab.crash();
  assert.deepEqual(await opened(browser, {room: "garden"}).store.load(), []);
  assert.deepEqual(refs(await opened(browser, {room: "lobby"}).store.load()), ["one"]);
});

test("Loading, or sweeping, removes entries of others, and of the version before.", async () => {
  for (const clean of ["load", "sweep"]) {
    const browser = new FakeBrowser();
    for (const owner of ["Ann", "Bob", "lobby Ann"]) await opened(browser, {owner}).store.put(entry(owner));
    await opened(browser, {owner: "Ann"}).store[clean]();
    assert.deepEqual(refs(browser.records()), ["Ann"]);
    await opened(browser, {owner: ""}).store[clean]();
    assert.deepEqual(browser.records(), []);
  }
});

test("Where there is nothing to sweep no database is made.", async () => {
  const browser = new FakeBrowser();
  const {tab, store} = opened(browser);
  tab.indexedDB.databases = async () => [{name: "another"}];
  await store.sweep();
  assert.equal(browser.databases.size, 0);
});

test("Without Web Locks any tab that loads takes all.", async () => {
  for (const without of [undefined, {request: () => Promise.reject(new Error("SecurityError"))}]) {
    const browser = new FakeBrowser();
    const stores = [1, 2, 3].map(() => openStore({owner: "a", indexedDB: browser.tab().indexedDB, locks: without}));
    await stores[0].put(entry("one"));
    assert.deepEqual(refs(await stores[1].load()), ["one"]);
    assert.deepEqual(refs(await stores[2].load()), ["one"]);
  }
});

test("A month later nobody wants it any more, and nobody's garbage stays.", async () => {
  const browser = new FakeBrowser();
  const {tab, store} = opened(browser);
  await store.put(entry("old", {at: Date.now() - 31 * 24 * 3_600_000}));
  await store.put(entry("new", {at: Date.now() - 29 * 24 * 3_600_000}));
  await store.put({ref: "garbage"});
  tab.crash();
  assert.deepEqual(await opened(browser, {room: "garden"}).store.load(), []);
  assert.deepEqual(refs(browser.records()), ["new"]);
});

for (const fault of STORE_FAULTS) {
  test(`Where "${fault}" methods reject, and work again when it does not.`, async () => {
    const browser = new FakeBrowser();
    const {tab, store} = opened(browser);
    tab.faults.add(fault);
    const done = await Promise.allSettled([store.load(), store.put(entry("one")), store.delete("one")]);
    assert.ok(done.some(({status}) => status === "rejected"));
    tab.faults.clear();
    await store.put(entry("two"));
    tab.crash();
    const found = await opened(browser).store.load();
    assert.ok(refs(found).includes("two"));
  });
}

test("A connection that the browser has ended is opened again.", async () => {
  const browser = new FakeBrowser();
  const {tab, store} = opened(browser);
  await store.put(entry("one"));
  tab.faults.add("transaction throws once"); // it was lost without a word
  await store.put(entry("two"));
  tab.database.closed = true;
  tab.database.onclose(); // the user cleared the site's data
  await store.put(entry("three"));
  const former = tab.database;
  former.onversionchange(); // a later version wants to be opened
  assert.equal(former.closed, true);
  await store.put(entry("four"));
  assert.deepEqual(refs(browser.records()), ["four", "one", "three", "two"]);
});

test("A browser without IndexedDB, or that forbids it, gives a store that rejects.", async () => {
  for (const store of [openStore({owner: "a"}), openStore({owner: "a", indexedDB: null, locks: null})]) {
    await assert.rejects(store.put(entry("one")));
    await assert.rejects(store.load());
  }
  Object.defineProperty(globalThis, "indexedDB", {
    configurable: true,
    get() {
      throw new Error("SecurityError");
    },
  });
  try {
    await assert.rejects(openStore({owner: "a"}).load());
  } finally {
    delete globalThis.indexedDB;
  }
});
