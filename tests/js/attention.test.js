/** Unread messages on the page: the count in the title, and the one on the way down. */

import assert from "node:assert/strict";
import {afterEach, beforeEach, mock, test} from "node:test";

import {Attention} from "../../chat/static/chat/attention.js";

const ELEMENT = {setAttribute() {}};

beforeEach(() => {
  mock.timers.enable({apis: ["setTimeout"]});
  globalThis.document = {title: "Lobby · Chat", hidden: true};
});

afterEach(() => mock.timers.reset());

/** With three messages that came while nobody looked. */
function unlooked() {
  const attention = new Attention({log: ELEMENT, announcement: ELEMENT, toast: ELEMENT});
  for (const id of [5, 6, 7]) attention.came({id, following: false});
  return attention;
}

test("A message that is deleted or hidden is none that is unread.", () => {
  const attention = unlooked();
  assert.deepEqual([document.title, attention.below], ["(3) Lobby · Chat", 3]);
  attention.gone(6);
  attention.gone(6);
  attention.gone(99);
  assert.deepEqual([document.title, attention.below], ["(2) Lobby · Chat", 2]);
  attention.gone(5);
  attention.gone(7);
  assert.deepEqual([document.title, attention.below], ["Lobby · Chat", 0]);
});

test("What was read on another page is none either, whatever was deleted of it.", () => {
  const attention = unlooked();
  attention.gone(5);
  attention.read(6);
  assert.deepEqual([document.title, attention.below], ["(1) Lobby · Chat", 1]);
  attention.read(7);
  assert.deepEqual([document.title, attention.below], ["Lobby · Chat", 0]);
});

test("What comes after a deletion is counted.", () => {
  const attention = unlooked();
  for (const id of [5, 6, 7]) attention.gone(id);
  attention.came({id: 8, following: true});
  assert.deepEqual([document.title, attention.below], ["(1) Lobby · Chat", 0]);
});
