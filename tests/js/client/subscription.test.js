/** Rooms: joined once, joined again where they were left, each numbered frame told once. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {comeBack, joined, world} from "../support/helpers.js";

const seen = (here) => here.of("message").map(({seq}) => seq);

test("The first join has no position; its promise is the welcome.", async () => {
  const here = world();
  const joining = here.client.join("lobby", {username: "Ann"});
  here.client.connect();
  here.socket.accept();
  const {ref, ...command} = here.socket.last("join");
  assert.deepEqual(command, {type: "join", room: "lobby", username: "Ann"});
  here.socket.welcome({seq: 4, username: "Ann"});
  assert.equal((await joining).seq, 4);
  assert.match(ref, /^[0-9a-f]{32}$/);
});

test("A page that is known by its session joins without a name.", () => {
  assert.equal("username" in joined().socket.last("join"), false);
});

test("After a loss each room is joined where it was left.", () => {
  const here = joined({seq: 10});
  here.client.join("garden");
  here.socket.welcome({room: "garden", seq: 3, epoch: "g1"});
  here.socket.message(11);
  here.socket.cut();
  comeBack(here);
  assert.deepEqual(
    here.socket.of("join").map(({room, since, epoch}) => [room, since, epoch]),
    [["lobby", 11, "e1"], ["garden", 3, "g1"]],
  );
});

test("After a resumed welcome the missed messages come, though its position is past them.", () => {
  const here = joined({seq: 10});
  here.socket.cut();
  comeBack(here);
  here.socket.welcome({seq: 12, resumed: true});
  here.socket.message(11);
  here.socket.message(12);
  assert.deepEqual(seen(here), [11, 12]);
  assert.deepEqual(here.of("reset"), []);
});

test("A loss in the middle of catching up continues from what came.", () => {
  const here = joined({seq: 10});
  here.socket.cut();
  comeBack(here);
  here.socket.welcome({seq: 12, resumed: true});
  here.socket.message(11);
  here.socket.cut();
  comeBack(here);
  assert.equal(here.socket.last("join").since, 11);
});

test("A welcome that did not resume resets the room to its position.", () => {
  const here = joined({seq: 10});
  here.socket.cut();
  comeBack(here);
  here.socket.welcome({seq: 2, epoch: "e2", resumed: false});
  assert.deepEqual(here.of("reset"), [{room: "lobby"}]);
  here.socket.message(3);
  assert.deepEqual(seen(here), [3]);
  here.socket.cut();
  comeBack(here);
  assert.deepEqual([here.socket.last("join").since, here.socket.last("join").epoch], [3, "e2"]);
});

test("The first welcome is no reset, whatever it says.", () => {
  assert.deepEqual(joined().of("reset"), []);
});

test("Numbered frames are told once and never backwards.", () => {
  const here = joined({seq: 5});
  for (const seq of [5, 6, 6, 7, 6, 8]) here.socket.message(seq);
  assert.deepEqual(seen(here), [6, 7, 8]);
});

test("An ack does not count as seen: others' messages before it are still on their way.", () => {
  const here = joined();
  here.client.send("lobby", "mine");
  here.socket.ack(here.socket.last("message"), 3);
  here.socket.message(1);
  here.socket.message(2);
  here.socket.message(3, {username: "Ann", content: "mine"});
  assert.deepEqual(seen(here), [1, 2, 3]);
});

test("A kind of frame that is not known yet is passed on under its name, in the same order.", () => {
  const here = joined({seq: 4});
  const topics = [];
  here.client.addEventListener("topic", ({detail}) => topics.push(detail.topic));
  here.socket.say({type: "topic", room: "lobby", seq: 5, topic: "x"});
  here.socket.say({type: "topic", room: "lobby", seq: 5, topic: "x"});
  here.socket.message(4);
  here.socket.message(6);
  assert.deepEqual(topics, ["x"]);
  assert.deepEqual(seen(here), [6]);
});

test("No frame passes for an event of the client's own.", () => {
  const here = joined();
  const before = here.events.length;
  for (const type of ["state", "reset", "pending", "sent", "refused"]) here.socket.say({type, room: "lobby"});
  assert.equal(here.events.length, before);
});

test("Frames of rooms that were not joined are not told.", () => {
  const here = joined();
  here.socket.message(1, {room: "elsewhere"});
  assert.deepEqual(seen(here), []);
});

test("A listener may leave the room at its welcome.", () => {
  const here = world();
  here.client.addEventListener("welcome", () => here.client.leave("lobby"));
  here.client.join("lobby");
  here.client.connect();
  here.socket.accept();
  here.socket.welcome();
  here.client.typing("lobby");
  assert.deepEqual(here.socket.sent.map(({type}) => type), ["join", "leave"]);
});

test("A refused join rejects, says so, and is not tried again.", async () => {
  const here = world();
  const joining = here.client.join("lobby", {username: "Ann"});
  here.client.connect();
  here.socket.accept();
  here.socket.refuse(here.socket.last("join"), "name_taken");
  await assert.rejects(joining, {code: "name_taken", message: "No: name_taken."});
  const [{code, room, command}] = here.of("error");
  assert.deepEqual([code, room, command], ["name_taken", "lobby", "join"]);
  here.socket.cut();
  comeBack(here);
  assert.deepEqual(here.socket.of("join"), []);
});

test("After a refusal another join asks again, from where the room was left.", async () => {
  const here = joined({seq: 3});
  here.client.send("lobby", "waits");
  here.socket.cut();
  comeBack(here);
  here.socket.refuse(here.socket.last("join"), "name_taken");
  here.client.join("lobby", {username: "Anna"});
  const {username, since} = here.socket.last("join");
  assert.deepEqual([username, since], ["Anna", 3]);
  here.socket.welcome({resumed: true});
  assert.equal(here.socket.last("message").content, "waits");
});

test("A busy server is asked again for the room.", () => {
  const here = world();
  here.client.join("lobby");
  here.client.connect();
  here.socket.accept();
  here.socket.refuse(here.socket.last("join"), "busy", {retryAfter: 500});
  here.clock.pass(499);
  assert.equal(here.socket.of("join").length, 1);
  here.clock.pass(1);
  assert.equal(here.socket.of("join").length, 2);
  assert.deepEqual(here.of("error"), []);
});

test("A join without an answer on a living link is asked for again, until the welcome.", () => {
  const here = world();
  here.client.join("lobby");
  here.client.connect();
  here.socket.accept();
  for (let s = 0; s < 11; s += 1) {
    here.clock.pass(1_000);
    here.socket.say({type: "pong", timestamp: 1});
  }
  assert.equal(here.socket.of("join").length, 2);
  here.socket.welcome();
  here.clock.pass(9_999);
  here.socket.say({type: "pong", timestamp: 1});
  here.clock.pass(9_999);
  assert.equal(here.socket.of("join").length, 2);
});

test("Joining twice is joining once.", () => {
  const here = joined();
  here.client.join("lobby");
  assert.equal(here.socket.of("join").length, 1);
});

test("Leaving tells the server, gives up what waits, and is not undone by a reconnect.", async () => {
  const here = joined();
  const pendingMessages = here.client.send("lobby", "hi");
  here.client.leave("lobby");
  assert.equal(here.socket.last("leave").room, "lobby");
  await assert.rejects(pendingMessages, {code: "left"});
  here.socket.cut();
  comeBack(here);
  assert.deepEqual(here.socket.sent, []);
});

test("Typing is sent once in two seconds, and only into a room that we are in.", () => {
  const here = joined();
  for (let ms = 0; ms < 6_000; ms += 100) {
    here.client.typing("lobby");
    here.clock.pass(100);
  }
  assert.equal(here.socket.of("typing").length, 3);
  here.client.typing("elsewhere");
  here.socket.cut();
  here.client.typing("lobby");
  assert.equal(here.sockets[0].of("typing").length, 3);
});

test("After a message the next key tells of typing at once.", () => {
  const here = joined();
  here.client.typing("lobby");
  here.client.send("lobby", "hi");
  here.client.typing("lobby");
  assert.equal(here.socket.of("typing").length, 2);
});

test("History answers its question.", async () => {
  const here = joined();
  const latest = here.client.history("lobby");
  const older = here.client.history("lobby", {before: 9, limit: 500});
  const [first, second] = here.socket.of("history");
  assert.deepEqual([first.limit, first.before, second.limit, second.before], [50, undefined, 100, 9]);
  here.socket.say({type: "history", room: "lobby", messages: [2], more: false, timestamp: 1, ref: second.ref});
  here.socket.say({type: "history", room: "lobby", messages: [1], more: true, timestamp: 1, ref: first.ref});
  assert.deepEqual((await latest).messages, [1]);
  assert.deepEqual((await older).messages, [2]);
  assert.equal(here.of("history").length, 2);
});

test("History fails with the link, with a refusal, and after 15 s; a busy server is asked again.", async () => {
  const here = joined();
  const lost = here.client.history("lobby");
  here.socket.cut();
  await assert.rejects(lost, {code: "disconnected"});
  await assert.rejects(here.client.history("lobby"), {code: "disconnected"});
  comeBack(here);
  here.socket.welcome({resumed: true});
  const refused = here.client.history("lobby");
  here.socket.refuse(here.socket.last("history"), "not_joined");
  await assert.rejects(refused, {code: "not_joined"});
  const busy = here.client.history("lobby");
  here.socket.refuse(here.socket.last("history"), "busy", {retryAfter: 100});
  here.clock.pass(100);
  assert.equal(here.socket.of("history").length, 3);
  here.socket.say({type: "history", room: "lobby", messages: [], more: false, ref: here.socket.last("history").ref});
  await busy;
  const slow = here.client.history("lobby");
  for (let s = 0; s < 15; s += 1) {
    here.clock.pass(1_000);
    here.socket.say({type: "pong", timestamp: 1});
  }
  await assert.rejects(slow, {code: "timeout"});
});

test("An error without a ref is told as it is.", () => {
  const here = joined();
  here.socket.refuse({}, "bad_json");
  assert.equal(here.of("error")[0].code, "bad_json");
});
