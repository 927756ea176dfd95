/** A room is read from the page's position on; a number that is missing is noticed, and asked for once. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {comeBack, joined, world} from "../support/helpers.js";

const seen = (here) => here.of("message").map(({seq}) => seq);
const asked = (here) => here.socket.of("join").slice(1).map(({since, epoch}) => [since, epoch]);

// --- The position of the page ---

test("A page that knows its position joins there.", async () => {
  const here = world();
  const joining = here.client.join("lobby", {since: 7, epoch: "e1"});
  here.client.connect();
  here.socket.accept();
  const {since, epoch} = here.socket.last("join");
  assert.deepEqual([since, epoch], [7, "e1"]);
  here.socket.welcome({seq: 9, resumed: true});
  here.socket.message(8);
  here.socket.message(9);
  assert.deepEqual(seen(here), [8, 9]);
  assert.deepEqual(here.of("reset"), []);
  assert.equal((await joining).resumed, true);
});

test("A page whose position is of no use any more is told to start over.", () => {
  const here = world();
  here.client.join("lobby", {since: 7, epoch: "e1"});
  here.client.connect();
  here.socket.accept();
  here.socket.welcome({seq: 2, epoch: "e2", resumed: false});
  assert.deepEqual(here.of("reset"), [{room: "lobby"}]);
  here.socket.message(3);
  assert.deepEqual(seen(here), [3]);
});

test("A page of a room that was not there yet joins plainly, and starts over if something was said since.", () => {
  for (const [seq, resets] of [[0, 0], [3, 1]]) {
    const here = world();
    here.client.join("lobby", {since: 0, epoch: null});
    here.client.connect();
    here.socket.accept();
    assert.equal("since" in here.socket.last("join"), false);
    here.socket.welcome({seq, resumed: false});
    here.socket.message(seq + 1);
    assert.equal(here.of("reset").length, resets);
    assert.deepEqual(seen(here), [seq + 1]);
  }
});

test("A plain join that is answered twice is no reset, where nothing was missed in between.", () => {
  const here = joined({seq: 4});
  here.socket.message(5);
  here.socket.welcome({seq: 5, resumed: false});
  assert.deepEqual(here.of("reset"), []);
  here.socket.welcome({seq: 6, resumed: false}); // a slow reader's: 6 is not to be had
  assert.deepEqual(here.of("reset"), [{room: "lobby"}]);
  here.socket.message(6);
  here.socket.message(7);
  assert.deepEqual(seen(here), [5, 7]);
});

// --- Gaps ---

test("A gap is asked for with the position before it, once, and all comes in order.", () => {
  const here = joined({seq: 5});
  here.socket.message(6);
  here.socket.message(8);
  here.socket.message(9);
  here.socket.message(10);
  assert.deepEqual(seen(here), [6]);
  assert.deepEqual(asked(here), [[6, "e1"]]);
  here.socket.welcome({seq: 10, resumed: true});
  for (const seq of [7, 8, 9, 10, 11]) here.socket.message(seq);
  assert.deepEqual(seen(here), [6, 7, 8, 9, 10, 11]);
  assert.equal(asked(here).length, 1);
  assert.deepEqual(here.of("reset"), []);
});

test("A frame tells which one it follows: numbers that nobody needs any more are no gap.", () => {
  const here = joined({seq: 5});
  here.socket.message(9, {follows: 5});
  here.socket.message(12, {follows: 8}); // it covers more than was missing
  here.socket.message(14, {follows: 13});
  assert.deepEqual(seen(here), [9, 12]);
  assert.deepEqual(asked(here), [[12, "e1"]]);
});

test("Each kind of numbered frame counts, and shows a gap.", () => {
  for (const type of ["edit", "delete", "react", "position", "topic"]) {
    const here = joined({seq: 5});
    here.socket.change(type, 1, 6);
    assert.deepEqual(asked(here), []);
    here.socket.change(type, 1, 8);
    assert.deepEqual(asked(here), [[6, "e1"]], type);
    assert.equal(here.of(type).length, type === "topic" ? 0 : 1); // nobody listens for a topic
  }
});

test("An event without a number of the log shows no gap.", () => {
  const here = joined({seq: 5});
  here.socket.say({type: "read", room: "lobby", username: "Ann", seq: 900});
  here.socket.say({type: "ack", room: "lobby", id: 800, seq: 800, ref: "unknown", timestamp: 1});
  here.socket.message(6);
  assert.deepEqual(asked(here), []);
  assert.deepEqual(here.of("read").map(({seq}) => seq), [900]);
});

test("Frames that were under way before the welcome are dropped: they come again.", () => {
  const here = joined({seq: 5});
  here.socket.message(7);
  here.socket.message(6); // the missing one itself, late
  here.socket.message(8);
  assert.deepEqual(seen(here), []);
  here.socket.welcome({seq: 8, resumed: true});
  for (const seq of [6, 7, 8]) here.socket.message(seq);
  assert.deepEqual(seen(here), [6, 7, 8]);
  assert.equal(asked(here).length, 1);
});

test("After the welcome of a gap the position is not its seq: what lies between has yet to come.", () => {
  const here = joined({seq: 5});
  here.socket.message(7);
  here.socket.welcome({seq: 9, resumed: true});
  here.socket.message(6);
  here.socket.cut();
  comeBack(here);
  assert.equal(here.socket.last("join").since, 6);
});

test("Changes that the server no longer has give a reset, and the numbers go on from there.", () => {
  const here = joined({seq: 5});
  here.socket.message(7);
  here.socket.welcome({seq: 9, resumed: false});
  assert.deepEqual(here.of("reset"), [{room: "lobby"}]);
  for (const seq of [8, 9, 10]) here.socket.message(seq);
  assert.deepEqual(seen(here), [10]);
  assert.equal(asked(here).length, 1);
});

test("A gap that can't be filled is not asked for ever: the room starts over.", () => {
  const here = joined({seq: 5});
  here.socket.message(7);
  here.socket.welcome({seq: 7, resumed: true});
  here.socket.message(7); // 6 is missing again
  assert.deepEqual(asked(here), [[5, "e1"], [undefined, undefined]]);
  here.socket.message(8);
  here.socket.welcome({seq: 8, resumed: false});
  assert.deepEqual(here.of("reset"), [{room: "lobby"}]);
  here.socket.message(9);
  here.socket.message(11); // another gap is asked for as the first one was
  assert.deepEqual(asked(here).at(-1), [9, "e1"]);
  assert.deepEqual(seen(here), [9]);
});

test("A connection that is lost over a gap continues before it.", () => {
  const here = joined({seq: 5});
  here.socket.message(7);
  here.socket.cut();
  comeBack(here);
  assert.equal(here.socket.last("join").since, 5);
  here.socket.message(8); // not ours yet
  here.socket.welcome({seq: 8, resumed: true});
  for (const seq of [6, 7, 8]) here.socket.message(seq);
  assert.deepEqual(seen(here), [6, 7, 8]);
  assert.deepEqual(asked(here), []);
});

test("A busy server is asked for the gap later; a lost answer is asked for again.", () => {
  const here = joined({seq: 5});
  here.socket.message(7);
  here.socket.refuse(here.socket.last("join"), "busy", {retryAfter: 700});
  here.clock.pass(699);
  assert.equal(asked(here).length, 1);
  here.clock.pass(1);
  assert.equal(asked(here).length, 2);
  for (let s = 0; s < 10; s += 1) {
    here.clock.pass(1_000);
    here.socket.say({type: "pong", timestamp: 1});
  }
  assert.deepEqual(asked(here), [[5, "e1"], [5, "e1"], [5, "e1"]]);
  here.socket.welcome({seq: 7, resumed: true});
  here.socket.message(6);
  here.socket.message(7);
  assert.deepEqual(seen(here), [6, 7]);
});

test("While a gap is asked for messages are sent, and typing and people are told.", () => {
  const here = joined({seq: 5});
  here.client.send("lobby", "one");
  here.socket.message(7);
  here.socket.ack(here.socket.last("message"), 8);
  here.client.send("lobby", "two");
  here.client.typing("lobby");
  assert.deepEqual(here.socket.of("message").map(({content}) => content), ["one", "two"]);
  assert.equal(here.socket.of("typing").length, 1);
  here.socket.say({type: "typing", room: "lobby", username: "Bob", timestamp: 1});
  assert.equal(here.of("typing").length, 1);
  here.socket.welcome({seq: 8, resumed: true});
  assert.deepEqual(here.socket.of("message").length, 2, "what is under way is not sent again");
});

test("A gap in one room is none of another's.", () => {
  const here = joined({seq: 5});
  here.client.join("garden");
  here.socket.welcome({room: "garden", seq: 50, epoch: "g1"});
  here.socket.message(7);
  here.socket.message(51, {room: "garden"});
  assert.deepEqual(seen(here), [51]);
  assert.equal(here.socket.last("join").room, "lobby");
});

test("A slow reader's welcome, which nobody asked for, is followed whatever was asked.", () => {
  const here = joined({seq: 5});
  here.socket.message(7);
  here.socket.welcome({seq: 20, resumed: false}); // it was on its way
  here.socket.message(21);
  here.socket.welcome({seq: 21, resumed: true}); // the answer to the gap, since 5
  for (const seq of [19, 20, 21, 22]) here.socket.message(seq, {follows: seq - 1});
  assert.deepEqual(seen(here), [21, 22]);
  assert.equal(here.of("reset").length, 1);
});
