/** Quotes: from the page's messages, or fetched once, without a storm of requests. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {Messages} from "../../../../chat/static/chat/client/messages.js";
import {ChatError} from "../../../../chat/static/chat/client/protocol.js";
import {Quotes} from "../../../../chat/static/chat/page/log/history.js";
import {Timeline} from "../../../../chat/static/chat/page/log/timeline.js";
import {settle} from "../../support/helpers.js";

const message = (id) => ({type: "message", id, seq: id, username: "Bob", content: `m${id}`, timestamp: id});

function here() {
  const messages = new Messages();
  const timeline = new Timeline("Ann", undefined, messages);
  timeline.latest({messages: [message(91), message(92)], more: true});
  const asked = [];
  const client = {
    history: (room, options) => new Promise((resolve, reject) => asked.push({...options, resolve, reject})),
  };
  const quotes = new Quotes({client, room: "tea", timeline, messages, onChange() {}});
  return {timeline, quotes, asked};
}

test("A message on the page is quoted in its present state, without a query.", () => {
  const {timeline, quotes, asked} = here();
  const before = quotes.of(91);
  assert.equal(before.message.content, "m91");
  timeline.received({type: "edit", id: 91, seq: 93, content: "better"});
  const after = quotes.of(91);
  assert.equal(after.message.content, "better");
  assert.notEqual(after.version, before.version);
  quotes.fetch();
  assert.equal(asked.length, 0);
});

test("Other messages are fetched: one at a time, each once, however often they are drawn.", async () => {
  const {quotes, asked} = here();
  for (let n = 0; n < 10; n += 1) {
    for (const id of [5, 6, 5]) assert.equal(quotes.of(id).message, undefined);
    quotes.fetch();
  }
  assert.deepEqual(asked.map(({before, limit}) => [before, limit]), [[7, 1]]);
  asked[0].resolve({messages: [message(6)], more: true});
  await settle();
  assert.deepEqual(asked.slice(1).map(({before}) => before), [6]);
  asked[1].resolve({messages: [message(5)], more: true});
  await settle();
  assert.deepEqual([quotes.of(5).message.content, quotes.of(6).message.content], ["m5", "m6"]);
  quotes.fetch();
  assert.equal(asked.length, 2);
});

test("A message that the room has not any more is told so, and not asked for again.", async () => {
  const {quotes, asked} = here();
  quotes.of(5);
  quotes.fetch();
  asked[0].resolve({messages: [message(4)], more: true});
  await settle();
  assert.deepEqual(quotes.of(5), {id: 5, gone: true, version: "gone"});
  quotes.fetch();
  assert.equal(asked.length, 1);
});

test("A query without a connection is sent again; a refused one is not.", async () => {
  const {quotes, asked} = here();
  quotes.of(5);
  quotes.fetch();
  asked[0].reject(new ChatError("disconnected", "gone"));
  await settle();
  quotes.fetch();
  assert.equal(asked.length, 2);
  asked[1].reject(new ChatError("timeout", "slow"));
  await settle();
  quotes.of(5);
  quotes.fetch();
  assert.equal(asked.length, 2);
});

test("A quote follows the changes of its message.", async () => {
  const {timeline, quotes, asked} = here();
  quotes.of(5);
  quotes.fetch();
  asked[0].resolve({messages: [message(5)], more: true});
  await settle();
  timeline.received({type: "delete", id: 5, seq: 99});
  assert.equal(quotes.of(5).message.deleted, true);
});

test("After a reset it is another room's past; an answer from before is not kept.", async () => {
  const {quotes, asked} = here();
  quotes.of(5);
  quotes.fetch();
  quotes.reset();
  asked[0].resolve({messages: [message(5)], more: true});
  await settle();
  assert.equal(quotes.of(5).message, undefined);
});
