/** Deferred commands wait in order, and the page learns for how long. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {joined} from "../support/helpers.js";

const contents = ({socket}) => socket.of("message").map(({content}) => content);

/** Somebody who said "one" and "two", and was told that the first is too early. */
function slowed(retryAfter = 12_000) {
  const here = joined();
  here.client.send("lobby", "one");
  here.client.send("lobby", "two");
  here.socket.refuse(here.socket.last("message"), "slow_mode", {retryAfter});
  return here;
}

test("In slow mode a message waits its time, with the same ref, and the next one behind it.", () => {
  const here = slowed();
  const {ref} = here.socket.last("message");
  here.clock.pass(12_000); // and up to half a second more
  assert.deepEqual(contents(here), ["one"]);
  here.clock.pass(500);
  assert.deepEqual(contents(here), ["one", "one"]);
  assert.equal(here.socket.last("message").ref, ref);
  here.socket.ack(here.socket.last("message"), 1);
  assert.deepEqual(contents(here), ["one", "one", "two"]);
});

test("The page is told which message waits, why, and for how long.", () => {
  const here = slowed();
  const [{ref, room, retryIn, error}] = here.of("later");
  assert.deepEqual([room, retryIn, error.code], ["lobby", 12_250, "slow_mode"]);
  assert.equal(ref, here.client.pending("lobby")[0].ref);
  assert.deepEqual([here.of("refused"), here.client.pending("lobby").length], [[], 2]);
});

test("In slow mode changes of messages do not wait.", () => {
  const here = slowed();
  here.client.react("lobby", 1, "👍");
  assert.equal(here.socket.last("react").emoji, "👍");
  here.socket.ack(here.socket.last("react"), 2);
  assert.deepEqual(contents(here), ["one"]);
  here.clock.pass(12_500);
  assert.deepEqual(contents(here), ["one", "one"]);
});

test("A message in slow mode goes behind the waiting ones.", () => {
  const here = slowed();
  here.client.send("lobby", "three");
  assert.deepEqual(contents(here), ["one"]);
  for (let seq = 1; seq <= 3; seq += 1) {
    here.clock.pass(12_500);
    here.socket.ack(here.socket.last("message"), seq);
    if (seq < 3) here.socket.refuse(here.socket.last("message"), "slow_mode", {retryAfter: 12_000});
  }
  assert.deepEqual(contents(here), ["one", "one", "two", "two", "three", "three"]);
});

test("Slow mode that lasts longer than a timer may is asked about again.", () => {
  const here = slowed(3_600_000);
  for (let passed = 0; passed < 300_500; passed += 500) {
    here.clock.pass(500);
    here.socket.say({type: "pong", timestamp: 1}); // the link is alive
  }
  assert.deepEqual(contents(here), ["one", "one"]);
});

test("`too_many` holds back everything in the room, changes too.", () => {
  const here = joined();
  here.client.send("lobby", "one");
  here.client.react("lobby", 1, "👍");
  here.socket.refuse(here.socket.last("message"), "too_many", {retryAfter: 2_000});
  here.clock.pass(2_249);
  assert.deepEqual([contents(here), here.socket.of("react")], [["one"], []]);
  here.clock.pass(1);
  assert.deepEqual(contents(here), ["one", "one"]);
  here.socket.ack(here.socket.last("message"), 1);
  assert.equal(here.socket.of("react").length, 1);
});

test("A join, and a question, that are too many are asked again at their time.", () => {
  const here = joined();
  here.client.join("garden");
  here.client.history("lobby");
  for (const type of ["join", "history"]) {
    here.socket.refuse(here.socket.last(type), "too_many", {retryAfter: 700});
  }
  here.clock.pass(700);
  assert.deepEqual([here.socket.of("join").length, here.socket.of("history").length], [3, 2]);
  assert.deepEqual(here.of("error"), []);
});

test("A link that was too many comes back after five seconds or more.", () => {
  for (const [chance, least] of [[0, 5_000], [0.5, 7_500], [0.99, 9_950]]) {
    const here = joined({random: () => chance});
    here.socket.cut(4029, "Too many.");
    const {state, retryIn} = here.of("state").at(-1);
    assert.equal(state, "waiting");
    assert.ok(retryIn >= least && retryIn < least + 1_000, `${retryIn}`);
  }
});

test("A refusal for good shows its reason, and the next message goes its way.", () => {
  for (const code of ["muted", "read_only", "banned", "refused", "forbidden"]) {
    const here = joined();
    here.client.send("lobby", "one");
    here.client.send("lobby", "two");
    here.socket.refuse(here.socket.last("message"), code, {retryAfter: 60_000});
    assert.deepEqual(here.of("refused").map(({content, error}) => [content, error.code]), [["one", code]]);
    assert.deepEqual(here.client.failed("lobby").map(({content}) => content), ["one"]);
    assert.deepEqual(contents(here), ["one", "two"]);
  }
});
