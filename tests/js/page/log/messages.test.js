/** Each message is kept once, for all parts that show it, and forgotten when none does. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {Messages} from "../../../../chat/static/chat/client/messages.js";
import {HistoryPages, Quotes} from "../../../../chat/static/chat/page/log/history.js";
import {KEEP, Timeline} from "../../../../chat/static/chat/page/log/timeline.js";
import {Search} from "../../../../chat/static/chat/page/search/search.js";
import {settle} from "../../support/helpers.js";

const message = (id) => ({type: "message", id, seq: id, username: "Bob", content: `m${id}`, timestamp: id});
const range = (from, to) => Array.from({length: to - from + 1}, (_, n) => message(from + n));

/** A page with the messages 91 to 100, whose questions the test answers. */
function page() {
  const messages = new Messages();
  const timeline = new Timeline("Ann", "k1", messages);
  const asked = [];
  const ask = (room, options) => new Promise((resolve, reject) => asked.push({resolve, reject, options}));
  const shared = {client: {history: ask, search: ask}, room: "tea", timeline, messages, onChange() {}};
  const parts = {history: new HistoryPages({...shared, begun: true}), quotes: new Quotes(shared), search: new Search(shared)};
  timeline.latest({messages: range(91, 100), more: true});
  return {messages, timeline, asked, ...parts};
}

/** Have message 95 in the timeline, quoted by another, and found. */
async function shownThrice() {
  const here = page();
  here.search.ask("m95");
  here.asked[0].resolve({messages: [message(95), message(5)], more: false});
  here.quotes.of(4);
  here.quotes.fetch();
  here.asked[1].resolve({messages: [message(4)], more: true});
  await settle();
  return here;
}

test("A message that is shown in several places is one object, before a change and after it.", async () => {
  const {messages, timeline, quotes, search} = await shownThrice();
  timeline.received({type: "edit", id: 95, seq: 101, content: "better"});
  const [found] = search.results;
  assert.equal(found.content, "better");
  assert.equal(timeline.messages.find(({id}) => id === 95), found);
  assert.equal(quotes.of(95).message, found);
  assert.equal(messages.size, 12);
});

test("It stays while one place shows it.", async () => {
  const {messages, timeline, search} = await shownThrice();
  timeline.live.dropOldest(2);
  assert.equal(messages.get(95).content, "m95");
  search.ask("");
  assert.equal(messages.get(95), undefined);
  assert.deepEqual(messages.size, 3, "99 and 100, and 4, which is quoted");
});

test("A message that comes again brings its later state, not an older one.", () => {
  const messages = new Messages();
  messages.hold({...message(1), seq: 5, content: "new"});
  messages.hold({...message(1), content: "old"});
  assert.equal(messages.get(1).content, "new");
  messages.hold({...message(1), seq: 6, content: "newest"});
  assert.equal(messages.get(1).content, "newest");
});

test("After a reset nothing of the former life is left.", async () => {
  const {messages, history, quotes, search} = await shownThrice();
  for (const part of [quotes, search, history]) part.reset();
  assert.equal(messages.size, 0);
});

test("A jump leaves nothing behind, whether it is found, given up or refused.", async () => {
  const {messages, timeline, asked, history} = page();
  const answer = (from) => {
    asked.at(-2).resolve({messages: range(from, 30), more: true});
    asked.at(-1).resolve({messages: range(31, 40), more: true});
  };
  const found = history.goTo(30);
  answer(20);
  assert.equal(await found, 30);
  assert.equal(messages.size, 31);
  history.leave();
  assert.equal(messages.size, 10);

  const superseded = history.goTo(30);
  history.leave();
  answer(20);
  assert.equal(await superseded, undefined);
  assert.equal(messages.size, 10);

  const refused = history.goTo(30);
  asked.at(-2).resolve({messages: range(20, 30), more: true});
  asked.at(-1).reject(new Error("refused"));
  await assert.rejects(refused);
  assert.deepEqual([messages.size, timeline.window, history.loading], [10, null, null]);
});

test("Through jumps, trims and long reading each message that is shown is held, and no other.", () => {
  const {messages, timeline} = page();
  timeline.lookAt({messages: range(1, 50), before: false, after: true});
  timeline.newer({messages: range(51, 95), more: true}); // it has reached what is live
  assert.deepEqual([timeline.window, messages.size], [null, 100]);
  for (let id = 101; id <= 100 + 2 * KEEP.MOST; id += 1) timeline.received(message(id));
  timeline.trim(false);
  assert.equal(messages.size, new Set([...timeline.messages, ...timeline.live.messages]).size);
  timeline.lookAtLive();
  assert.equal(messages.size, timeline.live.length);
});
