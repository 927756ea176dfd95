/** Messages survive the page that they were written on. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {openStore} from "../../chat/static/chat/store.js";
import {FakeBrowser} from "./fake-browser.js";
import {enter, settle, world} from "./helpers.js";
import {acknowledge, contents, opened, rest, waiting} from "./pages-of-browser.js";

test("After a crash what waited is shown, and sent in its order with its refs.", async () => {
  const browser = new FakeBrowser();
  const before = await opened(browser);
  before.client.send("lobby", "one");
  before.client.send("lobby", "two", {replyTo: 7});
  before.client.send("lobby", "three");
  const refs = before.client.pending("lobby").map(({ref}) => ref);
  await rest();
  before.crash();

  const after = await opened(browser);
  await after.client.restored;
  assert.deepEqual(waiting(after), ["one", "two", "three"]);
  assert.deepEqual(after.client.pending("lobby").map(({ref, replyTo}) => [ref, replyTo]), [
    [refs[0], undefined],
    [refs[1], 7],
    [refs[2], undefined],
  ]);
  assert.deepEqual(acknowledge(after), refs);
  assert.deepEqual(after.of("sent").map(({content}) => content), ["one", "two", "three"]);
  await rest();
  assert.deepEqual(browser.records(), []);
});

test("What was acknowledged or given up does not come back.", async () => {
  const browser = new FakeBrowser();
  const here = await opened(browser);
  here.client.send("lobby", "one");
  acknowledge(here);
  here.client.send("lobby", "two");
  here.client.leave("lobby");
  await rest();
  here.crash();
  const after = await opened(browser);
  assert.deepEqual(waiting(after), []);
  assert.deepEqual(contents(after), []);
});

test("What is said while the store is read waits for what it has, and comes after it.", async () => {
  const browser = new FakeBrowser();
  const before = await opened(browser);
  before.client.send("lobby", "old");
  await rest();
  before.crash();
  const tab = browser.tab();
  const after = world({store: openStore({owner: "lobby Ann", indexedDB: tab.indexedDB, locks: tab.locks})});
  enter(after);
  after.client.send("lobby", "new");
  assert.deepEqual(contents(after), []);
  await after.client.restored;
  assert.deepEqual(waiting(after), ["old", "new"]);
  acknowledge(after);
  assert.deepEqual(contents(after), ["old", "new"]);
});

test("Written and crashed any number of times, everything kept is sent once per ref and in order.", async () => {
  for (let turns = 0; turns < 24; turns += 1) {
    const browser = new FakeBrowser();
    const log = new Map(); // ref → content, as the server has it
    const take = ({socket}) => {
      for (const {ref, content} of socket.of("message")) log.has(ref) || log.set(ref, content);
    };
    for (let life = 0; life < 4; life += 1) {
      const here = await opened(browser);
      here.client.send("lobby", `${life}a`);
      here.client.send("lobby", `${life}b`);
      take(here);
      for (let n = 0; n < turns; n += 1) await settle();
      if (life % 2) here.socket.ack(here.socket.last("message"), log.size);
      take(here);
      for (let n = 0; n < turns; n += 1) await settle();
      here.crash();
    }
    const last = await opened(browser);
    acknowledge(last);
    take(last);
    const said = [...log.values()];
    assert.deepEqual(said, [...said].sort(), `after ${turns} turns`);
    assert.equal(new Set(said).size, said.length);
    if (turns > 12) assert.equal(said.length, 8);
  }
});

test("A message of an earlier page settles for who sends its ref again.", async () => {
  const browser = new FakeBrowser();
  const before = await opened(browser);
  before.client.send("lobby", "one", {ref: "r1"});
  await rest();
  before.crash();
  const after = await opened(browser);
  const sending = after.client.send("lobby", "one", {ref: "r1"});
  assert.deepEqual(waiting(after), ["one"]);
  acknowledge(after);
  assert.equal((await sending).id, 1);
  assert.deepEqual(contents(after), ["one"]);
});

test("Another name, and another room, send nothing of ours.", async () => {
  const browser = new FakeBrowser();
  const before = await opened(browser, {owner: "lobby Ann"});
  before.client.send("lobby", "mine");
  await rest();
  before.crash();
  for (const owner of ["lobby Bob", "garden Ann"]) {
    const other = await opened(browser, {owner});
    assert.deepEqual(waiting(other), []);
    other.crash();
  }
  assert.deepEqual(contents(await opened(browser, {owner: "lobby Ann"})), ["mine"]);
});

test("A wall clock that is set back does not turn the order round.", async () => {
  const browser = new FakeBrowser();
  const before = await opened(browser);
  const {now} = Date;
  try {
    before.client.send("lobby", "one");
    Date.now = () => now() - 3_600_000;
    before.client.send("lobby", "two");
  } finally {
    Date.now = now;
  }
  await rest();
  before.crash();
  assert.deepEqual(waiting(await opened(browser)), ["one", "two"]);
});

// --- Several tabs ---

test("A second tab leaves a living one's messages alone, and shows and sends them after its end.", async () => {
  const browser = new FakeBrowser();
  const first = await opened(browser);
  first.client.send("lobby", "one");
  await rest();
  const second = await opened(browser);
  second.client.send("lobby", "mine");
  acknowledge(second);
  assert.deepEqual(contents(second), ["mine"]);
  first.crash();
  await rest();
  assert.deepEqual(second.of("pending").map(({content, room}) => [content, room]), [["one", "lobby"]]);
  acknowledge(second);
  assert.deepEqual(contents(second), ["mine", "one"]);
  await rest();
  assert.deepEqual(browser.records(), []);
});

test("What comes from another tab later does not push itself before what is under way.", async () => {
  const browser = new FakeBrowser();
  const first = await opened(browser);
  first.client.send("lobby", "older");
  await rest();
  const second = await opened(browser);
  second.client.send("lobby", "under way");
  second.client.send("lobby", "next");
  first.crash();
  await rest();
  acknowledge(second);
  assert.deepEqual(contents(second), ["under way", "next", "older"]);
});

test("Without Web Locks two tabs may send the same; each settles, and nothing stays.", async () => {
  const browser = new FakeBrowser();
  const first = await opened(browser, {locks: false});
  const sending = first.client.send("lobby", "one");
  await rest();
  const second = await opened(browser, {locks: false});
  assert.deepEqual(contents(second), ["one"]);
  assert.equal(second.socket.last("message").ref, first.socket.last("message").ref);
  acknowledge(first);
  acknowledge(second);
  assert.equal((await sending).id, 1);
  assert.deepEqual([waiting(first), waiting(second)], [[], []]);
  await rest();
  assert.deepEqual(browser.records(), []);
});

// --- What was refused ---

test("What was refused is shown after a reload, until it is sent again or discarded.", async () => {
  const browser = new FakeBrowser();
  const before = await opened(browser);
  before.client.send("lobby", "bad", {ref: "r1"});
  before.socket.refuse({ref: "r1"}, "forbidden");
  before.client.send("lobby", "worse", {ref: "r2"});
  before.socket.refuse({ref: "r2"}, "bad_field", {field: "content"});
  await rest();
  before.crash();

  const after = await opened(browser);
  assert.deepEqual(contents(after), []);
  assert.deepEqual(waiting(after), []);
  assert.deepEqual(after.client.failed("lobby").map(({content, failed}) => [content, failed]), [
    ["bad", {code: "forbidden", message: "No: forbidden.", field: undefined}],
    ["worse", {code: "bad_field", message: "No: bad_field.", field: "content"}],
  ]);
  after.client.discard("r2");
  const again = after.client.send("lobby", "bad", {ref: "r1"});
  assert.deepEqual(after.client.failed("lobby"), []);
  assert.deepEqual(waiting(after), ["bad"]);
  acknowledge(after);
  assert.equal((await again).id, 1);
  await rest();
  assert.deepEqual(browser.records(), []);
});

test("The latest 20 refused are kept, and take no room from what waits.", async () => {
  const browser = new FakeBrowser();
  const here = await opened(browser, {outboxLimit: 1});
  for (let n = 0; n < 25; n += 1) {
    here.client.send("lobby", `${n}`);
    here.socket.refuse(here.socket.last("message"), "forbidden");
  }
  const kept = Array.from({length: 20}, (_, n) => `${n + 5}`);
  assert.deepEqual(here.client.failed("lobby").map(({content}) => content), kept);
  await rest();
  assert.deepEqual(browser.records().map(({content}) => content).sort(), kept.sort());
  here.client.leave("lobby");
  await rest();
  assert.deepEqual(browser.records(), []);
});

test("What waits can't be discarded.", async () => {
  const here = await opened(new FakeBrowser());
  here.client.send("lobby", "one", {ref: "r1"});
  here.client.discard("r1");
  here.client.discard("unknown");
  assert.deepEqual(waiting(here), ["one"]);
});
