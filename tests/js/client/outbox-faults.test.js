/** No fault of the browser's storage stops the chat. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {FakeBrowser, STORE_FAULTS} from "../support/fake-browser.js";
import {comeBack, enter, FakeStore, keyOf, settle, world} from "../support/helpers.js";
import {acknowledge, contents, opened, rest, waiting} from "../support/pages-of-browser.js";

const FAULTS = ["locks", ...STORE_FAULTS];

for (const fault of FAULTS) {
  test(`Where "${fault}" the chat goes on, from the beginning or from any moment.`, async () => {
    for (const late of [false, true]) {
      const here = await opened(new FakeBrowser(), {faults: late ? [] : [fault]});
      here.tab.faults.add(fault);
      await here.client.restored;
      const pendingMessages = here.client.send("lobby", "one");
      here.client.send("lobby", "two");
      await rest();
      here.socket.cut();
      comeBack(here);
      here.socket.welcome({resumed: true});
      acknowledge(here);
      assert.equal((await pendingMessages).id, 1);
      here.client.send("lobby", "three");
      here.socket.refuse(here.socket.last("message"), "forbidden");
      await rest();
      assert.deepEqual(here.of("sent").map(({content}) => content), ["one", "two"]);
      assert.deepEqual(waiting(here), []);
    }
  });
}

test("A message that could not be deleted is sent once more with its ref, and then is.", async () => {
  const browser = new FakeBrowser();
  const before = await opened(browser);
  before.client.send("lobby", "one");
  await rest();
  before.tab.faults.add("delete fails");
  const refs = acknowledge(before);
  await rest();
  before.crash();
  const after = await opened(browser);
  assert.deepEqual(acknowledge(after), refs);
  await rest();
  assert.deepEqual(browser.records(), []);
});

test("A store that never answers is waited for 3 s.", async () => {
  const here = await opened(new FakeBrowser(), {faults: ["open hangs"]});
  const pendingMessages = here.client.send("lobby", "one");
  here.clock.pass(2_999);
  await rest();
  assert.deepEqual(contents(here), []);
  here.clock.pass(1);
  await here.client.restored;
  acknowledge(here);
  assert.equal((await pendingMessages).id, 1);
});

test("Entries that a slow store returns after that are still sent.", async () => {
  let answer;
  const store = Object.assign(new FakeStore(), {load: () => new Promise((resolve) => (answer = resolve))});
  const here = world({store});
  enter(here);
  here.clock.pass(3_000);
  await here.client.restored;
  here.client.send("lobby", "new");
  answer([{ref: "r1", room: "lobby", you: keyOf("Ann"), content: "old", at: 1, order: 1}]);
  await settle();
  assert.deepEqual(here.of("pending").map(({content}) => content), ["old"]);
  acknowledge(here);
  assert.deepEqual(contents(here), ["new", "old"]);
});

test("A store of whatever kind, and with whatever in it, is no reason to fail.", async () => {
  const garbage = [null, 7, {}, {ref: 1}, {ref: "a", room: "lobby", content: 5, at: 1, order: 1}];
  const stores = [
    {load: async () => garbage, put: async () => {}, delete: async () => {}},
    {load: async () => null, put: () => {}, delete: () => {}},
    {
      load() {
        throw new Error("no");
      },
    },
  ];
  for (const store of stores) {
    const here = world({store});
    enter(here);
    await here.client.restored;
    assert.deepEqual(waiting(here), []);
    const pendingMessages = here.client.send("lobby", "one");
    acknowledge(here);
    assert.equal((await pendingMessages).id, 1);
    assert.equal(here.clock.timers, 2, "the connection's own");
  }
});

test("Without a store nothing waits for one.", async () => {
  const here = world();
  enter(here);
  here.client.send("lobby", "one");
  assert.deepEqual(contents(here), ["one"]);
  await here.client.restored;
});
