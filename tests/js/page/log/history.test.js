/** The page's own pieces that need no page: what is sent of a text, history's coming in, what a browser has to load. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {ChatError} from "../../../../chat/static/chat/client/client.js";
import {Messages} from "../../../../chat/static/chat/client/messages.js";
import {characters, CLOSE, comesBack, ERROR, LIMIT, VERSION} from "../../../../chat/static/chat/client/protocol.js";
import {cleaned} from "../../../../chat/static/chat/page/composer/composer.js";
import {HistoryPages} from "../../../../chat/static/chat/page/log/history.js";
import {Timeline} from "../../../../chat/static/chat/page/log/timeline.js";
import {settle} from "../../support/helpers.js";

/** A client whose history answers when the test says so. */
class FakeClient {
  asked = [];
  history(room, options) {
    return new Promise((resolve, reject) => this.asked.push({room, ...options, resolve, reject}));
  }
}

function pages() {
  const client = new FakeClient();
  const messages = new Messages();
  const timeline = new Timeline("Ann", undefined, messages);
  const history = new HistoryPages({client, room: "lobby", timeline, messages, onChange() {}});
  return {client, timeline, history, messages};
}

/** Pages whose page brought the messages 91 to 100. */
function begun() {
  const here = pages();
  here.timeline.latest({messages: range(91, 100), more: true});
  here.history.begun = true;
  return here;
}

const page = (...ids) => ids.map((id) => ({id, seq: id, username: "Bob", content: "x", timestamp: id}));
const range = (from, to) => page(...Array.from({length: to - from + 1}, (_, n) => from + n));
const ids = (timeline) => timeline.messages.map(({id}) => id);

test("A text is sent without control characters and blank ends, and keeps its lines and tabs.", () => {
  assert.equal(cleaned("a\0b\x08c\x7f"), "abc");
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
    ["BAD_INPUT", "NOT_SIGNED_IN", "FORBIDDEN"],
  );
  assert.deepEqual([comesBack(1006), comesBack(4399), comesBack(4400)], [true, true, false]);
});

test("The constants are plain.", () => {
  assert.equal(VERSION, 1);
  const texts = {NAME: 32, CONTENT: 4000, QUERY: 200, EMOJI: 16, TITLE: 80, REASON: 200};
  assert.deepEqual(LIMIT, {...texts, HISTORY: 100, SLOW: 3600});
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
  assert.deepEqual([history.begun, timeline.live.oldest, timeline.live.before], [true, 8, true]);
  history.begin();
  assert.equal(client.asked.length, 1);
});

test("The page's first messages are not requested.", () => {
  const {client, timeline, messages} = pages();
  const history = new HistoryPages({client, room: "lobby", timeline, messages, begun: true, onChange() {}});
  history.begin();
  assert.equal(client.asked.length, 0);
});

test("A first page that lost its connection is asked for at the next welcome.", async () => {
  const {client, history} = pages();
  history.begin();
  client.asked[0].reject(new ChatError("disconnected", "gone"));
  await settle();
  assert.deepEqual([history.begun, history.failed], [false, null]);
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
  assert.deepEqual(ids(timeline), [6, 7, 8, 9]);
  history.older();
  assert.equal(client.asked.length, 2);
});

test("A failure is told, and the next success clears it.", async () => {
  const {client, history} = pages();
  history.begin();
  client.asked[0].reject(new ChatError("timeout", "slow"));
  await settle();
  assert.equal(history.failed, "latest");
  history.begin();
  client.asked[1].resolve({messages: [], more: false});
  await settle();
  assert.deepEqual([history.failed, history.begun], [null, true]);
});

test("A reset starts over; what was on its way is of another life.", async () => {
  const {client, timeline, history} = pages();
  history.begin();
  client.asked[0].resolve({messages: page(8, 9), more: true});
  await settle();
  history.older();
  history.reset();
  history.begin();
  client.asked[1].resolve({messages: page(6, 7), more: true});
  client.asked[2].resolve({messages: page(1), more: false});
  await settle();
  assert.deepEqual(ids(timeline), [1]);
});

test("A page that comes when its place is gone is not put there.", async () => {
  const {client, timeline, history} = begun();
  history.older();
  timeline.live.dropOldest(5);
  client.asked[0].resolve({messages: range(41, 90), more: true});
  await settle();
  assert.deepEqual(ids(timeline), [96, 97, 98, 99, 100]);
});

test("A jump to a message far back shows it with its neighbours, and goes on both ways.", async () => {
  const {client, timeline, history} = begun();
  const found = history.goTo(30);
  assert.deepEqual(client.asked.map(({before, after}) => [before, after]), [[31, undefined], [undefined, 30]]);
  client.asked[0].resolve({messages: range(1, 30), more: false});
  client.asked[1].resolve({messages: range(31, 60), more: true});
  assert.equal(await found, 30);
  assert.deepEqual([ids(timeline)[0], ids(timeline).at(-1)], [1, 60]);
  history.older();
  assert.equal(client.asked.length, 2, "there is nothing older");
  history.newer();
  assert.equal(client.asked[2].after, 60);
  client.asked[2].resolve({messages: range(61, 100), more: false});
  await settle();
  assert.deepEqual([timeline.window, ids(timeline).length], [null, 100]);
});

test("A message that is here is gone to without a question.", async () => {
  const {client, timeline, history} = begun();
  assert.equal(await history.goTo(95), 95);
  timeline.lookAt({messages: range(1, 10), before: false, after: true});
  assert.equal(await history.goTo(5), 5);
  assert.notEqual(timeline.window, null);
  assert.equal(await history.goTo(95), 95);
  assert.deepEqual([timeline.window, client.asked.length], [null, 0]);
});

test("A message that is not there any more is told, and the reader stays where they were.", async () => {
  const {client, timeline, history} = begun();
  const found = history.goTo(30);
  client.asked[0].resolve({messages: range(20, 29), more: false});
  client.asked[1].resolve({messages: range(31, 40), more: true});
  assert.equal(await found, null);
  assert.equal(timeline.window, null);
});

test("The last of two jumps counts, and one to the live end counts too.", async () => {
  const {client, timeline, history} = begun();
  const first = history.goTo(30);
  const second = history.goTo(50);
  for (const {before, after, resolve} of client.asked) {
    resolve({messages: before ? page(before - 1) : page(after + 1), more: true});
  }
  assert.deepEqual([await first, await second], [undefined, 50]);
  assert.deepEqual(ids(timeline), [50, 51]);
  const third = history.goTo(10);
  history.leave();
  for (const {resolve} of client.asked.slice(4)) resolve({messages: page(10), more: true});
  assert.equal(await third, undefined);
  assert.equal(timeline.window, null);
});

test("A change that arrives between the two pages around a message is not lost.", async () => {
  const {client, timeline, history} = begun();
  const found = history.goTo(30);
  client.asked[0].resolve({messages: range(20, 30), more: true});
  await settle();
  timeline.received({type: "edit", id: 30, seq: 101, content: "edited"});
  client.asked[1].resolve({messages: range(31, 40), more: true});
  assert.equal(await found, 30);
  assert.equal(timeline.find(30).content, "edited");
});

test("A jump without a connection is rejected, and another can be made.", async () => {
  const {client, history} = begun();
  const found = history.goTo(30);
  for (const {reject} of client.asked) reject(new ChatError("disconnected", "gone"));
  await assert.rejects(found, {code: "disconnected"});
  assert.equal(history.loading, null);
});

test("The first message after a position is found though none has that number.", async () => {
  const {client, timeline, history} = begun();
  const found = history.goAfter(30);
  client.asked[0].resolve({messages: range(20, 28), more: true});
  client.asked[1].resolve({messages: range(33, 40), more: true});
  assert.equal(await found, 33);
  assert.deepEqual(ids(timeline).slice(8, 10), [28, 33]);
});
