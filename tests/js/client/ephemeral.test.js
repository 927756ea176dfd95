/** How far one has read: told seldom, never back, and not forgotten. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {comeBack, joined, world} from "../support/helpers.js";

const told = ({sockets}) => sockets.flatMap((socket) => socket.of("read").map(({seq}) => seq));

test("A read position is sent at once, then at most once in two seconds, and the last always.", () => {
  const here = joined();
  const times = [];
  for (let ms = 0; ms < 5_000; ms += 100) {
    const before = told(here).length;
    here.client.read("lobby", 1 + ms / 100);
    if (told(here).length > before) times.push(ms);
    here.clock.pass(100);
  }
  here.clock.pass(2_000);
  assert.deepEqual(told(here), [1, 20, 40, 50]);
  assert.deepEqual(here.socket.last("read"), {type: "read", room: "lobby", seq: 50});
  here.clock.pass(9_000);
  assert.equal(told(here).length, 4);
  here.client.read("lobby", 51);
  assert.equal(told(here).length, 5, "after quiet at once");
});

test("It never goes back, and nonsense is not told.", () => {
  const here = joined();
  here.client.read("lobby", 9);
  for (const seq of [9, 8, 0, -1, 1.5, NaN, null, undefined, "12"]) here.client.read("lobby", seq);
  here.clock.pass(5_000);
  assert.deepEqual(told(here), [9]);
});

test("Two rooms are told of each for itself.", () => {
  const here = joined();
  here.client.join("garden");
  here.socket.welcome({room: "garden"});
  here.client.read("lobby", 5);
  here.client.read("garden", 3);
  assert.deepEqual(here.socket.of("read").map(({room, seq}) => [room, seq]), [["lobby", 5], ["garden", 3]]);
});

test("A read position from before the join, or without a connection, is sent after the join.", () => {
  const here = world();
  here.client.read("lobby", 4);
  here.client.join("lobby");
  here.client.connect();
  here.socket.accept();
  assert.deepEqual(told(here), []);
  here.socket.welcome({seq: 9});
  assert.deepEqual(told(here), [4]);
  here.socket.cut();
  here.client.read("lobby", 9);
  comeBack(here);
  here.socket.welcome({resumed: true});
  here.clock.pass(2_000);
  assert.deepEqual(told(here), [4, 9]);
});

test("After a reconnect the welcome tells what came through.", () => {
  for (const [read, expected] of [[9, [9]], [4, [9, 9]], [undefined, [9]], [12, [9]]]) {
    const here = joined();
    here.client.read("lobby", 9);
    here.socket.cut();
    comeBack(here);
    here.clock.pass(2_000);
    here.socket.say({type: "welcome", room: "lobby", username: "Ann", seq: 20, epoch: "e1", resumed: true, read});
    here.clock.pass(2_000);
    assert.deepEqual(told(here), expected, `read: ${read}`);
    here.client.read("lobby", 11);
    assert.equal(told(here).length - expected.length, read === 12 ? 0 : 1);
  }
});

test("Another tab's read position is sent by that tab only.", () => {
  const here = joined();
  here.client.read("lobby", 3);
  here.client.read("lobby", 5);
  here.socket.say({type: "read", room: "lobby", username: "Ann", seq: 8});
  here.clock.pass(5_000);
  here.client.read("lobby", 7);
  assert.deepEqual(told(here), [3]);
  assert.deepEqual(here.of("read").map(({seq}) => seq), [8]);
  here.client.read("lobby", 9);
  assert.deepEqual(told(here), [3, 9]);
});

test("In another epoch the numbers start again.", () => {
  const here = joined();
  here.client.read("lobby", 90);
  here.socket.cut();
  comeBack(here);
  here.socket.welcome({seq: 3, epoch: "e2"});
  here.client.read("lobby", 2);
  here.clock.pass(2_000);
  assert.deepEqual(told(here), [90, 2]);
});

test("Nothing is told of a room that was left, nor after the end.", () => {
  for (const end of [(client) => client.leave("lobby"), (client) => client.close()]) {
    const here = joined();
    here.client.read("lobby", 3);
    here.client.read("lobby", 4);
    end(here.client);
    here.socket.say({type: "read", room: "lobby", username: "Ann", seq: 8});
    here.clock.pass(3_000);
    assert.deepEqual(told(here), [3]);
  }
});

test("A page that may go has sent every read position, in each room and once.", () => {
  const here = joined();
  here.client.join("garden");
  here.socket.welcome({room: "garden"});
  for (const seq of [3, 4, 5]) here.client.read("lobby", seq);
  here.client.read("garden", 7);
  here.client.read("garden", 8);
  here.client.tellNow();
  assert.deepEqual(told(here), [3, 7, 5, 8]);
  here.client.tellNow();
  here.clock.pass(9_000);
  assert.equal(told(here).length, 4);
  here.client.read("lobby", 6);
  here.client.tellNow();
  assert.equal(told(here).at(-1), 6);
});

test("Without a connection nothing is told, and all of it later.", () => {
  const here = joined();
  here.client.read("lobby", 3);
  here.client.read("lobby", 4);
  here.socket.cut();
  here.client.tellNow();
  assert.deepEqual(told(here), [3]);
  comeBack(here);
  here.socket.welcome({read: 3});
  here.clock.pass(2_000);
  assert.deepEqual(told(here), [3, 4]);
});
