/**
 * A server that keeps its promises, a network that keeps none, a page that crashes: commands, answers and events are
 * lost at any point, answers are overtaken, the server is busy now and then. Afterwards everything is as if nothing had
 * happened.
 */

import assert from "node:assert/strict";
import {test} from "node:test";

import {changed} from "../../../chat/static/chat/client/messages.js";
import {openStore} from "../../../chat/static/chat/client/store.js";
import {FakeBrowser} from "../support/fake-browser.js";
import {bare, keyOf, settle, world} from "../support/helpers.js";
import {RoomServer} from "../support/room-server.js";

const SEEDS = 100;
let wallClock = Date.now();
const EMOJI = ["👍", "❤️", "🎉"];

/** Park and Miller's generator: the same seed gives the same disaster. */
function dice(seed) {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

/** The messages that a page of the room shows: a state from the server, kept current by events. */
class Page {
  shown = new Map(); // id → message: all from some one on
  found = new Map(); // the same of a search
  told = []; // seq of each numbered frame
  promises = [];
  edits = new Map(); // id → {content, done} of the last one
  floor = 0; // from this id on everything is shown, or on its way
  loading = false;
  restored = false;

  constructor(tab, {messages, seq, epoch}, random) {
    this.tab = tab;
    const store = openStore({owner: keyOf("Ann"), indexedDB: tab.indexedDB, locks: tab.locks, pause: settle});
    this.here = world({random, store, you: keyOf("Ann")});
    this.client = this.here.client;
    this.client.restored.then(() => (this.restored = true));
    this.add(messages);
    this.floor = messages[0]?.id ?? 0;
    this.#listen();
    this.client.join("lobby", {since: seq, epoch});
    this.client.connect();
  }

  add(messages, to = this.shown) {
    for (const message of messages) {
      const known = to.get(message.id);
      if (!known || message.seq > known.seq) to.set(message.id, message);
    }
  }

  #listen() {
    const on = (type, then) => this.client.addEventListener(type, ({detail}) => then(detail));
    for (const type of ["message", "edit", "delete", "react"]) on(type, (frame) => this.#hear(frame));
    on("reset", () => {
      this.shown.clear();
      this.found.clear();
      this.told = [];
      this.floor = this.position;
      this.load();
    });
    on("welcome", ({seq}) => {
      this.position = seq;
      if (this.loading) this.load();
    });
  }

  #hear(frame) {
    this.told.push(frame.seq);
    for (const messages of [this.shown, this.found]) {
      const known = messages.get(frame.id);
      if (known) messages.set(frame.id, changed(known, frame));
    }
    // A message below is one that was changed and is not shown: history brings it.
    if (frame.type === "message" && frame.id >= this.floor) this.add([frame]);
  }

  /** The latest page of history, which is all that is shown after a reset. */
  async load() {
    const run = (this.loading = {});
    const page = await this.client.history("lobby", {limit: 10}).catch((error) => error);
    if (run !== this.loading || page.code === "disconnected") return; // the next welcome starts over
    if (page.code) return this.load();
    this.addPage(page.messages);
    this.loading = false;
  }

  addPage(messages) {
    this.add(messages);
    this.floor = Math.min(this.floor, ...messages.map(({id}) => id));
  }

  /** One page before what is shown; nothing where it is lost. */
  async older() {
    if (this.loading) return;
    const before = this.floor;
    const {messages = []} = await this.client.history("lobby", {before, limit: 5}).catch((error) => error);
    if (!this.loading && before === this.floor) this.addPage(messages);
  }

  /** Do something as Ann would. */
  act(chance, said) {
    const own = [...this.shown.values()].filter(({username, deleted}) => username === "Ann" && !deleted);
    const any = [...this.shown.values()].filter(({deleted}) => !deleted);
    const pick = (list) => list[Math.floor(chance() * list.length)];
    const dice = chance();
    if (dice < 0.45 || !own.length) this.#keep(this.client.send("lobby", said(), {replyTo: pick(any)?.id}));
    else if (dice < 0.65) this.#edit(pick(own).id, `${said()} edited`);
    else if (dice < 0.72) this.#keep(this.client.remove("lobby", pick(own).id));
    else if (dice < 0.92) this.#keep(this.client.react("lobby", pick(any).id, pick(EMOJI), chance() < 0.7));
    else if (dice < 0.96) this.#search(pick(["1", "edited"]));
    else this.older();
  }

  #keep(promise) {
    this.promises.push(promise.catch((error) => error));
  }

  #edit(id, content) {
    const edit = {content, done: false};
    this.edits.set(id, edit);
    const promise = this.client.edit("lobby", id, content);
    this.#keep(promise);
    promise.then(() => (edit.done = true), () => {});
  }

  #search(query) {
    this.client.search("lobby", query).then(({messages}) => this.add(messages, this.found), () => {});
  }

  /** Nothing is on its way any more. */
  async atRest() {
    const pending = {};
    const settled = await Promise.race([Promise.all(this.promises), settle().then(() => pending)]);
    return settled !== pending && !this.loading && !this.client.pending("lobby").length;
  }
}

async function disaster(seed) {
  const chance = dice(seed);
  const server = new RoomServer();
  const browser = new FakeBrowser();
  const survivors = new Set(); // refs of messages that waited when a page crashed
  const sent = [];
  const said = () => `${sent.push(`${sent.length}`) - 1}`;
  const open = () => new Page(browser.tab(), structuredClone(server.page()), chance);
  let page = open();
  server.chance = chance;
  for (let step = 0; step < 250; step += 1) {
    const {socket, environment, clock} = page.here;
    wallClock += 1_000; // each page has its own time: hundreds of pages live within one real millisecond
    if (chance() < 0.2) bob(server, chance);
    if (socket.readyState === 0 && chance() < 0.5) socket.accept();
    if (chance() < 0.25) page.act(chance, said);
    if (socket.readyState === 1 && chance() < 0.7) server.handle(socket, "Ann");
    if (chance() < 0.4) await answers(server);
    if (socket.readyState < 2 && chance() < 0.04) socket.cut([1006, 1011, 1012, 4008][Math.floor(chance() * 4)]);
    if (chance() < 0.03) environment[chance() < 0.5 ? "offline" : "online"]();
    if (chance() < 0.03) environment.look();
    if (page.restored) clock.pass(Math.floor(chance() * 2_000)); // no time for the store to seem to hang
    for (let turn = 0; turn < 8 * chance(); turn += 1) await settle();
    if (chance() < 0.02) {
      if (chance() < 0.5) {
        await rest(); // the store has had its time
        for (const {ref} of page.client.pending("lobby")) survivors.add(ref);
      }
      page.tab.crash();
      page.here.socket.close();
      page = open();
    }
  }
  await calmDown(server, page);
  const lost = [...survivors].filter((ref) => !server.refs.has(`Ann ${ref}`));
  return {server, page, sent, lost, left: browser.records()};
}

async function answers(server) {
  server.answer();
  await settle();
}

/** Let the store's transactions end. */
async function rest() {
  for (let turn = 0; turn < 100; turn += 1) await settle();
}

/** Somebody else talks, and changes what they said. */
function bob(server, chance) {
  const own = [...server.messages.values()].filter(({username, deleted}) => username === "Bob" && !deleted);
  const {id} = own[Math.floor(chance() * own.length)] ?? {};
  const dice = chance();
  if (dice < 0.6 || !id) server.say("Bob", `bob ${server.seq}`);
  else if (dice < 0.9) server.change("edit", id, {content: `bob ${server.seq} edited`, edited: server.seq});
  else server.change("delete", id);
}

async function calmDown(server, page) {
  await page.client.restored;
  server.chance = () => 1;
  page.here.environment.online();
  for (let step = 0; step < 600 && (step < 60 || !(await page.atRest())); step += 1) {
    if (page.here.socket.readyState === 0) page.here.socket.accept();
    server.handle(page.here.socket, "Ann");
    await answers(server);
    page.here.clock.pass(500);
    await settle();
    if (step === 40) server.say("Bob", "the last word"); // which shows what was lost before it
  }
  for (let floor = Infinity; floor > page.floor; ) {
    ({floor} = page);
    page.older();
    server.handle(page.here.socket, "Ann");
    await answers(server);
  }
  await rest();
}

const texts = (messages) =>
  bare([...messages].sort((a, b) => a.id - b.id)).map(({follows, ...message}) => message);

/** Ann's first words of each message, by the server's order. An edit makes another text of them. */
const firstWords = (server, sent) =>
  [...server.messages.values()].filter(({username, content}) => username === "Ann" && sent.includes(content));

test(`Through ${SEEDS} disasters all is kept once and in order, and shown as the server has it.`, async (t) => {
  let kept = 0;
  const {now} = Date;
  t.after(() => (Date.now = now));
  Date.now = () => wallClock;
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const {server, page, sent, lost, left} = await disaster(seed);
    assert.deepEqual([lost, left], [[], []], `stored by seed ${seed}`);
    assert.deepEqual(texts(page.shown.values()), texts(server.messages.values()), `shown by seed ${seed}`);
    const found = [...page.found.keys()].map((id) => server.messages.get(id));
    assert.deepEqual(texts(page.found.values()), texts(found), `found by seed ${seed}`);
    assert.deepEqual(page.told, [...page.told].sort((a, b) => a - b), `order of seed ${seed}`);
    assert.equal(new Set(page.told).size, page.told.length, `once in seed ${seed}`);
    const numbers = firstWords(server, sent).map(({content}) => Number(content));
    assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b), `kept in order by seed ${seed}`);
    assert.equal(new Set(numbers).size, numbers.length, `kept once by seed ${seed}`);
    for (const [id, {content, done}] of page.edits) {
      const message = server.messages.get(id);
      if (done && !message.deleted) assert.equal(message.content, content, `edit of seed ${seed}`);
    }
    page.client.close();
    assert.equal(page.here.clock.timers, 0);
    kept += numbers.length;
  }
  assert.ok(kept > 10 * SEEDS, "there was something to keep");
});
