/** Unread messages on the page: the count in the title, and the one on the way down. */

import assert from "node:assert/strict";
import {afterEach, beforeEach, mock, test} from "node:test";

import {Notifications} from "../../../../chat/static/chat/page/log/notifications.js";

const ELEMENT = {setAttribute() {}};

beforeEach(() => {
  mock.timers.enable({apis: ["setTimeout"]});
  globalThis.document = {title: "Lobby · Chat", hidden: true};
});

afterEach(() => mock.timers.reset());

/** With three messages that came while nobody looked. */
function unlooked() {
  const notifications = new Notifications({log: ELEMENT, announcement: ELEMENT, toast: ELEMENT});
  for (const id of [5, 6, 7]) notifications.came({id, following: false});
  return notifications;
}

test("A message that is deleted or hidden is none that is unread.", () => {
  const notifications = unlooked();
  assert.deepEqual([document.title, notifications.below], ["(3) Lobby · Chat", 3]);
  notifications.gone(6);
  notifications.gone(6);
  notifications.gone(99);
  assert.deepEqual([document.title, notifications.below], ["(2) Lobby · Chat", 2]);
  notifications.gone(5);
  notifications.gone(7);
  assert.deepEqual([document.title, notifications.below], ["Lobby · Chat", 0]);
});

test("Messages read on another page do not count either, whichever of them were deleted.", () => {
  const notifications = unlooked();
  notifications.gone(5);
  notifications.read(6);
  assert.deepEqual([document.title, notifications.below], ["(1) Lobby · Chat", 1]);
  notifications.read(7);
  assert.deepEqual([document.title, notifications.below], ["Lobby · Chat", 0]);
});

test("Messages after a deletion are counted.", () => {
  const notifications = unlooked();
  for (const id of [5, 6, 7]) notifications.gone(id);
  notifications.came({id: 8, following: true});
  assert.deepEqual([document.title, notifications.below], ["(1) Lobby · Chat", 0]);
});
