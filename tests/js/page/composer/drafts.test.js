/** Drafts: kept for their author, in their room, and brought back. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {Drafts, DraftSync} from "../../../../chat/static/chat/page/composer/drafts.js";
import {BrowserData} from "../../../../chat/static/chat/page/entrance/browser-data.js";

const DAY = 24 * 3_600_000;
const say = (text) => ({kind: "say", text});

/** The part of localStorage that is used: its names are its own properties. */
class FakeStorage {
  getItem = hidden(this, (name) => this[name] ?? null);
  setItem = hidden(this, (name, value) => void (this[name] = String(value)));
  removeItem = hidden(this, (name) => void delete this[name]);
  constructor() {
    for (const name of ["getItem", "setItem", "removeItem"]) {
      Object.defineProperty(this, name, {enumerable: false, value: this[name]});
    }
  }
}

function hidden(storage, method) {
  return method.bind(storage);
}

const broken = new Proxy({}, {
  get() {
    throw new Error("SecurityError");
  },
  ownKeys() {
    throw new Error("SecurityError");
  },
});

/** Age what is kept of a room. */
function age(storage, name, days) {
  storage[name] = JSON.stringify({...JSON.parse(storage[name]), at: Date.now() - days * DAY});
}

// --- The storage ---

test("Each room and each person has a draft of their own.", () => {
  const storage = new FakeStorage();
  const [ann, bob] = ["ann", "bob"].map((you) => new Drafts({you, storage}));
  ann.write("tea", say("one"));
  ann.write("garden", {kind: "reply", id: 7, text: "two", epoch: "e"});
  assert.deepEqual(ann.read("tea"), say("one"));
  assert.deepEqual(ann.read("garden"), {kind: "reply", id: 7, text: "two", epoch: "e"});
  assert.deepEqual([bob.read("tea"), ann.read("lobby")], [null, null]);
  ann.write("tea", null);
  assert.equal(ann.read("tea"), null);
});

test("Drafts of others, old ones and too many are swept; other entries stay.", () => {
  const storage = new FakeStorage();
  const ann = new Drafts({you: "ann", storage});
  for (let n = 0; n < 60; n += 1) {
    ann.write(`room${n}`, say("x"));
    age(storage, ann.nameOf(`room${n}`), n / 10);
  }
  ann.write("old", say("x"));
  age(storage, ann.nameOf("old"), 31);
  new Drafts({you: "bob", storage}).write("tea", say("x"));
  new Drafts({you: "annie", storage}).write("tea", say("x"));
  storage.setItem("theme", "dark");
  storage.setItem(ann.nameOf("garbage"), "{");
  ann.sweep();
  const expected = Array.from({length: 50}, (_, n) => ann.nameOf(`room${n}`));
  assert.deepEqual(Object.keys(storage).sort(), [...expected, "theme"].sort());
  ann.clear();
  assert.deepEqual(Object.keys(storage), ["theme"]);
});

test("Old drafts are not read, nor those of another user.", () => {
  const storage = new FakeStorage();
  const ann = new Drafts({you: "ann", storage});
  ann.write("tea", say("x"));
  age(storage, ann.nameOf("tea"), 31);
  assert.equal(ann.read("tea"), null);
  for (const odd of ["", "null", "7", "[]", '{"text":1}', '{"text":"x","kind":"sing"}', '{"text":"x","kind":"edit"}']) {
    storage.setItem(ann.nameOf("tea"), odd.replace("}", `,"at":${Date.now()}}`));
    assert.equal(ann.read("tea"), null, odd);
  }
});

test("A storage that is full, missing or forbidden gives no drafts, and stops nothing.", () => {
  for (const storage of [undefined, broken]) {
    const drafts = new Drafts({you: "ann", storage});
    drafts.write("tea", say("x"));
    drafts.sweep();
    drafts.clear();
    assert.equal(drafts.read("tea"), null);
    new BrowserData({you: "ann", storage}).watch(() => {}, new EventTarget());
  }
});

// --- A browser's data of each person ---

const event = (type, more) => Object.assign(new Event(type), more);

test("A page for another user sweeps, and open pages of others are informed.", async () => {
  const storage = new FakeStorage();
  const swept = [];
  const store = {sweep: async () => void swept.push("messages")};
  new BrowserData({you: "ann", storage, store}).drafts.write("tea", say("x"));
  const ann = new EventTarget();
  const received = [];
  new BrowserData({you: "ann", storage}).watch(() => received.push("other"), ann);
  new BrowserData({you: "", storage, store});
  assert.deepEqual([swept.length, Object.keys(storage)], [2, ["chat.you"]]);
  ann.dispatchEvent(event("storage", {key: "chat.you", newValue: "ann"}));
  ann.dispatchEvent(event("storage", {key: "theme", newValue: "dark"}));
  assert.deepEqual(received, []);
  ann.dispatchEvent(event("storage", {key: "chat.you", newValue: ""}));
  assert.deepEqual(received, ["other"]);
});

test("A page that comes back from the back-forward cache to another user's browser is informed.", () => {
  const storage = new FakeStorage();
  const window = new EventTarget();
  const received = [];
  new BrowserData({you: "ann", storage}).watch(() => received.push("other"), window);
  window.dispatchEvent(event("pageshow", {persisted: true}));
  new BrowserData({you: "bob", storage});
  window.dispatchEvent(event("pageshow", {persisted: false}));
  assert.deepEqual(received, []);
  window.dispatchEvent(event("pageshow", {persisted: true}));
  assert.deepEqual(received, ["other"]);
});

// --- A tab ---

/** A composer and what it is for, as far as drafts need it (composer-mode.js). */
class FakeIntent {
  draft = null;
  message = null;
  kind = "say";
  restore({kind, ...rest}, message) {
    this.kind = kind;
    this.message = message;
    this.draft = kind === "say" && !rest.text ? null : {kind, ...(message && {id: message.id}), ...rest};
    if (this.draft) delete this.draft.epoch;
  }
  learn(message) {
    this.message = message;
  }
  forget(id) {
    if (this.message?.id !== id) return false;
    this.restore(say(this.draft.text), null);
    return true;
  }
  write(text) {
    this.draft = text ? say(text) : null;
  }
}

/** The tabs of a browser: each sees the others' writes. */
class Tabs {
  storage = new FakeStorage();
  tabs = [];
  known = new Map(); // id → what is known of a message

  open({epoch = "e", restored = true} = {}) {
    const tab = {window: new EventTarget(), mode: new FakeIntent(), told: 0};
    const write = (name, value) => {
      this.storage[name] = value;
      this.#hear(tab, name);
    };
    const storage = new Proxy(this.storage, {
      get: (target, name) => {
        if (name === "setItem") return write;
        if (name !== "removeItem") return target[name];
        return (key) => {
          delete target[key];
          this.#hear(tab, key);
        };
      },
    });
    const drafts = new Drafts({you: "ann", storage});
    const document = Object.assign(new EventTarget(), {hidden: false});
    const find = (id) => this.known.get(id) ?? {};
    const options = {mode: tab.mode, find, epoch: () => epoch, tell: () => (tab.told += 1)};
    tab.draftSync = new DraftSync({drafts, room: "tea", ...options, window: tab.window, document});
    if (restored) tab.draftSync.restore();
    tab.leave = () => tab.window.dispatchEvent(new Event("pagehide"));
    this.tabs.push(tab);
    return tab;
  }

  #hear(from, key) {
    for (const {window} of this.tabs.filter((tab) => tab !== from)) window.dispatchEvent(event("storage", {key}));
  }
}

test("A draft comes back with the next page, also when the page had no time.", () => {
  const browser = new Tabs();
  const before = browser.open();
  before.mode.write("half a");
  before.leave();
  assert.deepEqual(browser.open().mode.draft, say("half a"));
});

test("A tab is written half a second after a key, however many follow.", async (t) => {
  t.mock.timers.enable({apis: ["setTimeout"]});
  const browser = new Tabs();
  const {mode, draftSync} = browser.open();
  for (let n = 1; n <= 10; n += 1) {
    mode.write("x".repeat(n));
    draftSync.changed();
    t.mock.timers.tick(100);
  }
  assert.ok(browser.open().mode.draft.text.length >= 5);
});

test("An empty tab wipes nothing out, and one that was not touched follows.", () => {
  const browser = new Tabs();
  const [first, second] = [browser.open(), browser.open()];
  first.mode.write("one");
  first.draftSync.save();
  assert.deepEqual(second.mode.draft, say("one"));
  second.leave();
  second.mode.write(""); // sent
  second.draftSync.save();
  assert.deepEqual([first.mode.draft, browser.open().mode.draft], [null, null]);
});

test("A draft of one tab that another one sent is in neither.", () => {
  const browser = new Tabs();
  const first = browser.open();
  first.mode.write("one");
  first.draftSync.save();
  const second = browser.open();
  second.mode.write("");
  second.draftSync.save();
  assert.equal(first.mode.draft, null);
});

test("Texts in two tabs stay in both; the last one wins, and an empty one does not.", () => {
  const browser = new Tabs();
  const [first, second] = [browser.open(), browser.open()];
  second.mode.write("two");
  first.mode.write("one");
  first.draftSync.save();
  second.draftSync.save();
  assert.deepEqual([first, second].map(({mode}) => mode.draft), [say("one"), say("two")]);
  first.leave();
  assert.deepEqual(browser.open().mode.draft, say("two"));
  first.mode.write("");
  first.draftSync.save();
  assert.deepEqual(browser.open().mode.draft, say("two"));
  first.mode.write("one again");
  first.draftSync.save();
  second.mode.write(""); // sent
  second.draftSync.save();
  assert.deepEqual([first.mode.draft, browser.open().mode.draft], [say("one again"), say("one again")]);
});

test("A draft of an edit waits for its message, and is a new one where that is gone, or another's.", () => {
  for (const [found, kind, told] of [
    [{message: {id: 7, own: true}}, "edit", 0],
    [{message: {id: 7, own: true, deleted: true}}, "say", 1],
    [{message: {id: 7, own: false}}, "say", 1],
    [{gone: true}, "say", 1],
  ]) {
    const browser = new Tabs();
    const before = browser.open();
    before.mode.restore({kind: "edit", text: "better", before: ""}, {id: 7});
    before.leave();
    const {mode, draftSync, ...tab} = browser.open();
    assert.deepEqual([mode.kind, mode.message], ["edit", {id: 7, unknown: true}]);
    browser.known.set(7, found);
    draftSync.settle();
    draftSync.settle();
    assert.deepEqual([mode.kind, mode.draft.text], [kind, "better"]);
    assert.equal(browser.tabs.at(-1).told, told);
    assert.ok(tab);
  }
});

test("In another epoch a reply is a new message.", () => {
  const browser = new Tabs();
  const before = browser.open();
  before.mode.restore({kind: "reply", text: "yes"}, {id: 7});
  before.leave();
  const after = browser.open({epoch: "another"});
  assert.deepEqual([after.mode.draft, after.told], [say("yes"), 1]);
});

test("When the sign-in ends nothing is kept or shown, and nothing is written any more.", () => {
  const browser = new Tabs();
  const tab = browser.open();
  tab.mode.write("secret");
  tab.draftSync.save();
  tab.draftSync.end();
  assert.deepEqual([tab.mode.draft, Object.keys(browser.storage)], [null, []]);
  tab.mode.write("more");
  tab.draftSync.changed();
  tab.leave();
  assert.deepEqual(Object.keys(browser.storage), []);
});
