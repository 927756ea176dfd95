/** Every message is sent once, in order, through whatever happens to the connection. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {comeBack, joined, settle, world} from "../support/helpers.js";

const contents = (socket) => socket.of("message").map(({content}) => content);

test("A sent message settles with the ack's numbers.", async () => {
  const {client, socket, of} = joined();
  const pendingMessages = client.send("lobby", "hi");
  socket.ack(socket.last("message"), 7);
  assert.deepEqual(await pendingMessages, {id: 7, seq: 7, timestamp: 1007});
  assert.deepEqual(of("sent").map(({content, id}) => [content, id]), [["hi", 7]]);
  assert.deepEqual(client.pending("lobby"), []);
});

test("A message whose request was lost is sent again with the same ref.", async () => {
  const here = joined();
  here.socket.readyState = 3; // it looks alive to the client no longer, but nobody has said so
  const pendingMessages = here.client.send("lobby", "hi");
  assert.deepEqual(here.socket.of("message"), []);
  const [{ref}] = here.client.pending("lobby");
  here.socket.cut();
  comeBack(here);
  here.socket.welcome({resumed: true});
  assert.equal(here.socket.last("message").ref, ref);
  here.socket.ack(here.socket.last("message"), 1);
  assert.equal((await pendingMessages).id, 1);
});

test("A message whose ack was lost is sent again with the same ref and settles once.", async () => {
  const here = joined();
  const pendingMessages = here.client.send("lobby", "hi");
  const first = here.socket.last("message");
  here.socket.cut();
  comeBack(here);
  here.socket.welcome({seq: 1, resumed: true});
  here.socket.message(1, {username: "Ann", content: "hi"}); // it had arrived
  const again = here.socket.last("message");
  assert.equal(again.ref, first.ref);
  here.socket.ack(again, 1);
  here.socket.ack(again, 1);
  assert.equal((await pendingMessages).id, 1);
  assert.equal(here.of("sent").length, 1);
  assert.equal(here.of("message").length, 1);
});

test("Nothing is sent again before the room's welcome.", () => {
  const here = joined();
  here.client.send("lobby", "hi");
  here.socket.cut();
  comeBack(here);
  assert.deepEqual(here.socket.sent.map(({type}) => type), ["join"]);
  here.socket.welcome({resumed: true});
  assert.deepEqual(contents(here.socket), ["hi"]);
});

test("Messages keep their order over any number of lost connections.", async () => {
  const here = joined();
  const kept = new Map(); // the server's log: ref → content
  for (let n = 0; n < 20; n += 1) here.client.send("lobby", `${n}`);
  for (let round = 0; here.client.pending("lobby").length; round += 1) {
    const command = here.socket.last("message");
    kept.set(command.ref, command.content);
    const lost = round % 3 === 0; // every third ack is lost with its connection
    if (!lost) here.socket.ack(command, [...kept.keys()].indexOf(command.ref) + 1);
    if (!lost) continue;
    here.socket.cut();
    comeBack(here);
    here.socket.welcome({resumed: true});
  }
  assert.deepEqual([...kept.values()], Array.from({length: 20}, (_, n) => `${n}`));
  assert.deepEqual(here.of("sent").map(({content, id}) => `${id - 1}` === content), Array(20).fill(true));
});

test("`busy` for one message does not let the next overtake it.", async () => {
  const {client, socket, clock} = joined();
  client.send("lobby", "one");
  client.send("lobby", "two");
  socket.refuse(socket.last("message"), "busy", {retryAfter: 3_000});
  clock.pass(2_999);
  assert.deepEqual(contents(socket), ["one"]);
  clock.pass(1);
  assert.deepEqual(contents(socket), ["one", "one"]);
  socket.ack(socket.last("message"), 1);
  assert.deepEqual(contents(socket), ["one", "one", "two"]);
});

test("`busy` without a time is retried with back-off.", () => {
  const {client, socket, clock} = joined();
  client.send("lobby", "hi");
  for (const expected of [250, 500, 1000]) {
    socket.refuse(socket.last("message"), "busy");
    const before = socket.of("message").length;
    clock.pass(expected - 1);
    assert.equal(socket.of("message").length, before);
    clock.pass(1);
    assert.equal(socket.of("message").length, before + 1);
  }
});

test("A refusal for good is not tried again, and a nonsensical time for it is bounded.", () => {
  const {client, socket, clock} = joined();
  client.send("lobby", "hi");
  socket.refuse(socket.last("message"), "busy", {retryAfter: 1e12}); // longer than a timer can be
  for (let passed = 0; passed < 299_000; passed += 1_000) {
    clock.pass(1_000);
    socket.say({type: "pong", timestamp: 1});
  }
  assert.equal(socket.of("message").length, 1);
  clock.pass(1_000);
  assert.equal(socket.of("message").length, 2);
  socket.refuse(socket.last("message"), "forbidden");
  client.send("lobby", "there", {replyTo: 7});
  socket.refuse(socket.last("message"), "not_found");
  clock.pass(9_000);
  assert.deepEqual(contents(socket), ["hi", "hi", "there"]);
  assert.deepEqual(client.pending("lobby"), []);
});

test("A definite refusal rejects, and the next message goes.", async () => {
  const {client, socket, of} = joined();
  const pendingMessages = client.send("lobby", "bad");
  client.send("lobby", "good");
  socket.refuse(socket.last("message"), "bad_field", {field: "content"});
  await assert.rejects(pendingMessages, {name: "ChatError", code: "bad_field", field: "content"});
  assert.deepEqual(of("refused").map(({content, error}) => [content, error.code]), [["bad", "bad_field"]]);
  assert.deepEqual(contents(socket), ["bad", "good"]);
});

test("A message without an answer on a living link is sent again, with the same ref.", () => {
  const {client, socket, clock} = joined();
  client.send("lobby", "hi");
  for (let s = 0; s < 11; s += 1) {
    clock.pass(1_000);
    socket.say({type: "pong", timestamp: 1});
  }
  const refs = socket.of("message").map(({ref}) => ref);
  assert.equal(refs.length, 2);
  assert.equal(new Set(refs).size, 1);
});

test("Messages written while there is no connection wait for it.", async () => {
  const {client, sockets} = world();
  client.join("lobby");
  client.send("lobby", "early");
  client.connect();
  sockets[0].accept();
  sockets[0].welcome();
  assert.deepEqual(contents(sockets[0]), ["early"]);
});

test("The outbox is bounded.", async () => {
  const {client} = joined({outboxLimit: 2});
  client.send("lobby", "one");
  client.send("lobby", "two");
  await assert.rejects(client.send("lobby", "three"), {code: "outbox_full"});
});

test("A command that the server would refuse is refused here.", async () => {
  const {client, socket} = joined();
  await assert.rejects(client.send("lobby", " \n"), {code: "bad_field"});
  await assert.rejects(client.send("lobby", "x".repeat(4001)), {code: "bad_field"});
  await assert.rejects(client.send("elsewhere", "hi"), {code: "not_joined"});
  assert.deepEqual(socket.of("message"), []);
  client.send("lobby", "😀".repeat(4000)); // 4000 characters in 8000 UTF-16 units
  assert.equal(socket.of("message").length, 1);
});

test("An unpaired surrogate, which would make a frame without an answer, is replaced.", () => {
  const {client, socket} = joined();
  client.send("lobby", "a\ud800b😀");
  assert.equal(socket.last("message").content, "a\ufffdb😀");
});

test("The same ref is one message, however often it is sent.", () => {
  const {client, socket} = joined();
  const first = client.send("lobby", "hi", {ref: "r1"});
  assert.equal(client.send("lobby", "hi", {ref: "r1"}), first);
  assert.deepEqual(contents(socket), ["hi"]);
});

test("A message says which one it answers.", async () => {
  const here = joined();
  here.client.send("lobby", "yes", {replyTo: 7});
  assert.equal(here.socket.last("message").replyTo, 7);
  assert.equal(here.client.pending("lobby")[0].replyTo, 7);
  here.socket.cut();
  comeBack(here);
  here.socket.welcome({resumed: true});
  assert.equal(here.socket.last("message").replyTo, 7);
});

test("In another epoch an id would be another message's: the reply becomes a plain message.", () => {
  const here = joined();
  here.client.send("lobby", "yes", {replyTo: 7});
  here.socket.cut();
  comeBack(here);
  here.socket.welcome({epoch: "e2", seq: 9});
  assert.equal(here.socket.last("message").content, "yes");
  assert.equal("replyTo" in here.socket.last("message"), false);
});

test("A caller who sends a refused message again at once gets a new reply.", async () => {
  const {client, socket} = joined();
  let again;
  client.addEventListener("refused", ({detail: {ref}}) => (again ??= client.send("lobby", "hi", {ref})), {once: true});
  const first = client.send("lobby", "hi");
  socket.refuse(socket.last("message"), "forbidden");
  await assert.rejects(first, {code: "forbidden"});
  socket.ack(socket.last("message"), 1);
  assert.equal((await again).id, 1);
});

test("A second welcome on the same link sends nothing twice.", () => {
  const {client, socket} = joined();
  client.send("lobby", "hi");
  socket.welcome({resumed: true});
  assert.deepEqual(contents(socket), ["hi"]);
  socket.ack(socket.last("message"), 1);
  client.send("lobby", "there");
  assert.deepEqual(contents(socket), ["hi", "there"]);
});

test("Two rooms do not wait for each other.", () => {
  const here = joined();
  here.client.join("garden");
  here.socket.welcome({room: "garden"});
  here.client.send("lobby", "one");
  here.client.send("garden", "two");
  assert.deepEqual(contents(here.socket), ["one", "two"]);
});

test("A promise that nobody looks at is no unhandled rejection.", async () => {
  const unhandled = [];
  const note = (reason) => unhandled.push(reason);
  process.on("unhandledRejection", note);
  const {client, socket} = joined();
  client.send("lobby", "hi");
  socket.refuse(socket.last("message"), "bad_field");
  client.send("lobby", "");
  client.join("garden");
  socket.refuse(socket.last("join"), "too_many_rooms");
  client.history("lobby");
  client.send("lobby", "never answered");
  client.close();
  client.history("lobby");
  await settle();
  process.off("unhandledRejection", note);
  assert.deepEqual(unhandled, []);
});
