/** Where the reader goes in a room, and what of it they have read. */

import assert from "node:assert/strict";
import {beforeEach, test} from "node:test";

import {Messages} from "../../../../chat/static/chat/client/messages.js";
import {ChatError} from "../../../../chat/static/chat/client/protocol.js";
import {HistoryPages} from "../../../../chat/static/chat/page/log/history.js";
import {Navigation} from "../../../../chat/static/chat/page/log/navigation.js";
import {ReadPosition} from "../../../../chat/static/chat/page/log/read-position.js";
import {Timeline} from "../../../../chat/static/chat/page/log/timeline.js";

const page = (from, to, more) => ({
  messages: Array.from({length: to - from + 1}, (_, n) => ({id: from + n, seq: from + n, username: "Bob", timestamp: 1})),
  more,
});

/** A page that shows 91 to 100, in a room of 100 that answers at once. */
function here() {
  const messages = new Messages();
  const timeline = new Timeline("Ann", undefined, messages);
  timeline.latest(page(91, 100, true));
  const asked = [];
  const client = {
    async history(room, {before, after, limit}) {
      asked.push(before ?? -after);
      if (before) return page(Math.max(1, before - limit), before - 1, before - limit > 1);
      return page(after + 1, Math.min(100, after + limit), after + limit < 100);
    },
  };
  const history = new HistoryPages({client, room: "tea", timeline, messages, begun: true, onChange() {}});
  const done = [];
  const log = {
    margins: {above: 5_000, below: 0},
    following: true,
    nodeOf: (id) => id,
    reveal: (id) => done.push(`at ${id}`),
    follow: () => done.push("at the end"),
  };
  const notifications = {hush() {}, looked() {}, read() {}, tell: (sentence) => done.push(sentence)};
  const navigation = new Navigation({history, timeline, log, notifications, draw() {}});
  return {timeline, client, asked, log, notifications, navigation, done};
}

beforeEach(() => (globalThis.document = {hidden: false}));

test("A message is shown where it stands, near or far, and the way back is short.", async () => {
  const {navigation, timeline, asked, done} = here();
  await navigation.to(95);
  assert.equal(asked.length, 0);
  await navigation.to(20);
  navigation.toLive();
  assert.deepEqual(done, ["at 95", "at 20", "at the end"]);
  assert.deepEqual([timeline.window, asked.length], [null, 2]);
});

test("A missing message, or one that can't be requested, gives an error.", async () => {
  const {navigation, client, done} = here();
  client.history = async () => ({messages: [], more: false});
  await navigation.to(20);
  client.history = () => Promise.reject(new ChatError("disconnected", "gone"));
  await navigation.to(20);
  client.history = () => Promise.reject(new ChatError("timeout", "The server took too long to answer."));
  await navigation.to(20);
  assert.deepEqual(done, [
    "This message is not there any more.",
    "There is no connection.",
    "The server took too long to answer.",
  ]);
});

test("The first new message is here, or it is looked for after what was read.", async () => {
  const {navigation, asked, done} = here();
  await navigation.toFirstAfter(93);
  assert.equal(asked.length, 0);
  await navigation.toFirstAfter(40);
  assert.deepEqual(asked, [41, -40]);
  assert.deepEqual(done, ["at 94", "at 41"]);
});

test("More is fetched near an end of what is shown, and at the live end nothing.", async () => {
  const {navigation, timeline, log, asked} = here();
  navigation.extend();
  assert.equal(asked.length, 0);
  log.margins = {above: 100, below: 5_000};
  navigation.extend();
  navigation.extend();
  assert.deepEqual(asked, [91]);
  await navigation.to(20);
  log.margins = {above: 5_000, below: 100};
  navigation.extend();
  assert.deepEqual(asked.slice(3), [-timeline.window.newest]);
});

function reader({read = null, ...rest} = here()) {
  const told = [];
  return {...rest, told, readPosition: new ReadPosition({read, ...rest, tell: (seq) => told.push(seq)})};
}

test("Read is what was on the screen at the end, in a tab that is looked at: once.", () => {
  const {readPosition, told, log, timeline} = reader();
  globalThis.document.hidden = true;
  readPosition.see();
  globalThis.document.hidden = false;
  log.following = false;
  readPosition.see();
  assert.deepEqual(told, []);
  log.following = true;
  readPosition.see();
  readPosition.see();
  timeline.received({type: "message", ...page(101, 101).messages[0]});
  readPosition.see();
  assert.deepEqual(told, [100, 101]);
});

test("Messages read before are not announced again.", () => {
  const {readPosition, told} = reader({...here(), read: 100});
  readPosition.see();
  assert.deepEqual([told, readPosition.line], [[], 100]);
});
