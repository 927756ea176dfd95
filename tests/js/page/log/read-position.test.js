/** The read position, and the line "new". */

import assert from "node:assert/strict";
import {test} from "node:test";

import {ReadMark} from "../../../../chat/static/chat/page/log/read-position.js";

test("The line stands where this person had read, and stays while they read on.", () => {
  const mark = new ReadMark(40);
  assert.equal(mark.line, 40);
  assert.deepEqual([mark.saw(50), mark.saw(50), mark.saw(45)], [true, false, false]);
  assert.deepEqual([mark.line, mark.read], [40, 50]);
});

test("A user who looks away finds the line after the last seen message.", () => {
  const mark = new ReadMark(40);
  mark.saw(50);
  mark.lookedAway();
  assert.equal(mark.line, 50);
});

test("A first-time user has no line; messages that arrive while they look away are new.", () => {
  const mark = new ReadMark(null);
  assert.equal(mark.line, null);
  mark.lookedAway();
  assert.equal(mark.line, 0);
});

test("Messages read elsewhere are read here; the line moves only in a hidden tab.", () => {
  const mark = new ReadMark(40);
  mark.readElsewhere(45, {away: false});
  assert.deepEqual([mark.line, mark.read], [40, 45]);
  mark.readElsewhere(50, {away: true});
  assert.deepEqual([mark.line, mark.read], [50, 50]);
  mark.readElsewhere(30, {away: true});
  assert.equal(mark.line, 50);
});

test("A user who replies has read; another epoch is all unread.", () => {
  const mark = new ReadMark(40);
  mark.clearLine();
  assert.equal(mark.line, null);
  mark.saw(60);
  mark.reset();
  assert.deepEqual([mark.read, mark.line, mark.saw(2)], [null, null, true]);
});
