/** Messages survive the page that they were written on. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {openStore} from "../../../chat/static/chat/client/store.js";
import {FakeBrowser} from "../support/fake-browser.js";
import {comeBack, enter, FakeStore, keyOf, settle, world} from "../support/helpers.js";
import {acknowledge, contents, opened, rest, waiting} from "../support/pages-of-browser.js";

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

test("An acknowledged or discarded message does not come back.", async () => {
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

test("A message that is posted while the store is read waits for the stored ones, and comes after them.", async () => {
  const browser = new FakeBrowser();
  const before = await opened(browser);
  before.client.send("lobby", "old");
  await rest();
  before.crash();
  const tab = browser.tab();
  const after = world({store: openStore({owner: keyOf("Ann"), indexedDB: tab.indexedDB, locks: tab.locks})});
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
  const pendingMessages = after.client.send("lobby", "one", {ref: "r1"});
  assert.deepEqual(waiting(after), ["one"]);
  acknowledge(after);
  assert.equal((await pendingMessages).id, 1);
  assert.deepEqual(contents(after), ["one"]);
});

// --- Authors ---

test("Another guest of the same name sends nothing of ours, and what we wrote is gone.", async () => {
  const browser = new FakeBrowser();
  const before = await opened(browser);
  before.client.send("lobby", "mine");
  await rest();
  before.crash();
  const other = await opened(browser, {you: "a later guest"}); // the welcome says "Ann", as ours did
  assert.deepEqual([waiting(other), contents(other), browser.records()], [[], [], []]);
});

test("A page that comes back as somebody else sends nothing of what was written before.", async () => {
  const browser = new FakeBrowser();
  const here = await opened(browser);
  here.socket.message(1, {username: "Ann"});
  here.socket.cut();
  const pendingMessages = here.client.send("lobby", "mine");
  here.client.edit("lobby", 1, "changed");
  here.client.read("lobby", 1);
  comeBack(here);
  here.socket.welcome({username: "Ann", you: "a later guest", resumed: true});
  await rest();
  assert.deepEqual(here.socket.sent.map(({type}) => type), ["join"]);
  assert.deepEqual(here.of("person"), [{you: "a later guest", username: "Ann"}]);
  await assert.rejects(pendingMessages, {code: "other_person"});
  assert.deepEqual([here.client.pending("lobby"), browser.records()], [[], []]);
  here.client.send("lobby", "theirs");
  assert.deepEqual(contents(here), ["theirs"]);
  assert.equal(browser.records().length, 0);
});

test("A user without their session, with only a name, sends no messages from that session.", async () => {
  const here = await opened(new FakeBrowser());
  here.socket.cut();
  here.client.send("lobby", "mine");
  comeBack(here);
  here.socket.welcome({username: "Ann", you: "", resumed: true});
  await rest();
  assert.deepEqual([contents(here), here.of("refused").map(({error}) => error.code)], [[], ["other_person"]]);
});

test("One user's refused messages are not offered to another.", async () => {
  const here = await opened(new FakeBrowser());
  here.client.send("lobby", "bad", {ref: "r1"});
  here.socket.refuse({ref: "r1"}, "forbidden");
  here.socket.cut();
  comeBack(here);
  here.socket.welcome({you: "another", resumed: true});
  assert.deepEqual(here.client.failed("lobby"), []);
});

test("A listener may end the page when somebody else is there: nothing more is said.", async () => {
  const browser = new FakeBrowser();
  const here = await opened(browser);
  here.client.addEventListener("person", () => here.client.forget());
  here.socket.cut();
  here.client.send("lobby", "mine");
  await rest();
  comeBack(here);
  const {socket} = here;
  socket.welcome({you: "another", resumed: true});
  await rest();
  assert.deepEqual([socket.of("message"), here.client.state, browser.records()], [[], "closed", []]);
});

test("A slow store's entries are dropped if the user has changed meanwhile.", async () => {
  let answer;
  const store = Object.assign(new FakeStore(), {load: () => new Promise((resolve) => (answer = resolve))});
  const here = world({store, you: keyOf("Ann")});
  enter(here, {you: "another"});
  const entry = {ref: "r1", room: "lobby", you: keyOf("Ann"), content: "mine", at: 1, order: 1};
  await store.put(entry);
  answer([entry]);
  await here.client.restored;
  await settle();
  assert.deepEqual([waiting(here), contents(here), store.entries.size], [[], [], 0]);
});

test("Before the server has told who somebody is, what was written waits, and is theirs whom it tells first.", async () => {
  for (const [you, sent] of [[keyOf("Ann"), ["kept", "new"]], ["another", ["new"]]]) {
    const store = new FakeStore();
    await store.put({ref: "r1", room: "lobby", you: keyOf("Ann"), content: "kept", at: 1, order: 1});
    const here = world({store});
    here.client.join("lobby");
    await here.client.restored;
    here.client.send("lobby", "new");
    await settle();
    assert.equal(store.entries.size, 1, "what is nobody's yet is not kept");
    here.client.connect();
    here.socket.accept();
    here.socket.welcome({you});
    await settle();
    assert.deepEqual([...store.entries.values()].map(({content}) => content).sort(), [...sent].sort());
    acknowledge(here);
    assert.deepEqual(contents(here), sent);
  }
});

test("A server of the version before does not tell who somebody is: the page's key holds.", async () => {
  const here = await opened(new FakeBrowser());
  here.socket.cut();
  here.client.send("lobby", "mine");
  comeBack(here);
  const {ref} = here.socket.last("join");
  here.socket.say({type: "welcome", room: "lobby", username: "Ann", seq: 0, epoch: "e1", resumed: true, ref});
  assert.deepEqual([contents(here), here.of("person")], [["mine"], []]);
});

test("Messages of a bare name are kept in no store: anyone could use the name later.", async () => {
  const browser = new FakeBrowser();
  const here = await opened(browser, {you: ""});
  here.client.send("lobby", "mine");
  await rest();
  assert.deepEqual([contents(here), browser.records()], [["mine"], []]);
});

test("When the sign-in ends nothing stays, of no tab and in no order of what was begun.", async () => {
  const browser = new FakeBrowser();
  const other = await opened(browser);
  other.client.send("lobby", "of a living tab");
  await rest();
  const here = await opened(browser);
  const pendingMessages = here.client.send("lobby", "one");
  here.client.forget();
  await assert.rejects(pendingMessages, {code: "closed"});
  await rest();
  assert.deepEqual([here.client.pending("lobby"), browser.records()], [[], []]);
});

test("Another room's page leaves what was written here alone.", async () => {
  const browser = new FakeBrowser();
  const before = await opened(browser);
  before.client.send("lobby", "mine");
  await rest();
  before.crash();
  const tab = browser.tab();
  const store = openStore({owner: keyOf("Ann"), room: "garden", indexedDB: tab.indexedDB, locks: tab.locks});
  assert.deepEqual(await store.load(), []);
  tab.crash();
  assert.deepEqual(contents(await opened(browser)), ["mine"]);
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

test("Later entries of another tab do not overtake those under way.", async () => {
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
  const pendingMessages = first.client.send("lobby", "one");
  await rest();
  const second = await opened(browser, {locks: false});
  assert.deepEqual(contents(second), ["one"]);
  assert.equal(second.socket.last("message").ref, first.socket.last("message").ref);
  acknowledge(first);
  acknowledge(second);
  assert.equal((await pendingMessages).id, 1);
  assert.deepEqual([waiting(first), waiting(second)], [[], []]);
  await rest();
  assert.deepEqual(browser.records(), []);
});

// --- What was refused ---

test("A refused message is shown after a reload, until it is sent again or discarded.", async () => {
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

test("A waiting message can't be discarded.", async () => {
  const here = await opened(new FakeBrowser());
  here.client.send("lobby", "one", {ref: "r1"});
  here.client.discard("r1");
  here.client.discard("unknown");
  assert.deepEqual(waiting(here), ["one"]);
});
