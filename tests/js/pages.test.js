/** The page's own pieces that need no page: what is sent of a text, and history's coming in. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {ChatError} from "../../chat/static/chat/client.js";
import {cleaned} from "../../chat/static/chat/composer.js";
import {HistoryPages} from "../../chat/static/chat/history.js";
import {characters, CLOSE, comesBack, ERROR, LIMIT, VERSION} from "../../chat/static/chat/protocol.js";
import {Timeline} from "../../chat/static/chat/timeline.js";
import {settle} from "./helpers.js";

/** A client whose history answers when the test says so. */
class FakeClient {
  asked = [];
  history(room, options) {
    return new Promise((resolve, reject) => this.asked.push({room, ...options, resolve, reject}));
  }
}

function pages() {
  const client = new FakeClient();
  const timeline = new Timeline("Ann");
  const history = new HistoryPages({client, room: "lobby", timeline, onChange() {}});
  return {client, timeline, history};
}

const page = (...ids) => ids.map((id) => ({id, seq: id, username: "Bob", content: "x", timestamp: id}));

test("A text is sent without control characters and blank ends, and keeps its lines and tabs.", () => {
  assert.equal(cleaned("a\0b\x0bc\x7f"), "abc");
  assert.equal(cleaned("\n  \n  one\n\ttwo  \n\n"), "  one\n\ttwo");
  assert.equal(cleaned(" \n "), "");
});

test("Characters are counted as the server counts them.", () => {
  assert.equal(characters(""), 0);
  assert.equal(characters("aé漢"), 3);
  assert.equal(characters("😀👩‍🚀"), 4);
});

test("Every close code below 4400 comes back.", () => {
  assert.deepEqual(
    Object.entries(CLOSE).filter(([, code]) => !comesBack(code)).map(([name]) => name),
    ["BAD_INPUT", "FORBIDDEN"],
  );
  assert.deepEqual([comesBack(1006), comesBack(4399), comesBack(4400)], [true, true, false]);
});

test("The constants are plain.", () => {
  assert.equal(VERSION, 1);
  assert.deepEqual(LIMIT, {NAME: 32, CONTENT: 4000, HISTORY: 100});
  for (const [name, code] of Object.entries(ERROR)) assert.equal(code, name.toLowerCase());
});

test("The latest page is asked for once.", async () => {
  const {client, timeline, history} = pages();
  history.begin();
  history.begin();
  assert.equal(client.asked.length, 1);
  assert.deepEqual([client.asked[0].before, client.asked[0].limit], [undefined, 50]);
  client.asked[0].resolve({messages: page(8, 9), more: true});
  await settle();
  assert.deepEqual([history.begun, timeline.oldest, timeline.more], [true, 8, true]);
  history.begin();
  assert.equal(client.asked.length, 1);
});

test("A first page that lost its connection is asked for at the next welcome.", async () => {
  const {client, history} = pages();
  history.begin();
  client.asked[0].reject(new ChatError("disconnected", "gone"));
  await settle();
  assert.deepEqual([history.begun, history.failed], [false, false]);
  history.begin();
  assert.equal(client.asked.length, 2);
});

test("Older pages follow from the oldest message, one at a time, while there are any.", async () => {
  const {client, timeline, history} = pages();
  history.older();
  assert.equal(client.asked.length, 0);
  history.begin();
  client.asked[0].resolve({messages: page(8, 9), more: true});
  await settle();
  history.older();
  history.older();
  assert.equal(client.asked.length, 2);
  assert.equal(client.asked[1].before, 8);
  client.asked[1].resolve({messages: page(6, 7), more: false});
  await settle();
  assert.deepEqual(timeline.messages.map(({id}) => id), [6, 7, 8, 9]);
  history.older();
  assert.equal(client.asked.length, 2);
});

test("A failure is told, and the next success clears it.", async () => {
  const {client, history} = pages();
  history.begin();
  client.asked[0].reject(new ChatError("timeout", "slow"));
  await settle();
  assert.equal(history.failed, true);
  history.begin();
  client.asked[1].resolve({messages: [], more: false});
  await settle();
  assert.deepEqual([history.failed, history.begun], [false, true]);
});

test("A reset starts over.", async () => {
  const {client, timeline, history} = pages();
  history.begin();
  client.asked[0].resolve({messages: page(8, 9), more: true});
  await settle();
  history.reset();
  history.begin();
  client.asked[1].resolve({messages: page(1), more: false});
  await settle();
  assert.deepEqual(timeline.messages.map(({id}) => id), [1]);
});
