/** Messages are edited, deleted and reacted to, through whatever happens to the connection. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {changed} from "../../../chat/static/chat/client/messages.js";
import {bare, comeBack, FakeStore, joined, settle, world} from "../support/helpers.js";

const COMMANDS = ["message", "edit", "delete", "react"];
const sent = ({socket}) => socket.sent.filter(({type}) => COMMANDS.includes(type));
const types = (here) => sent(here).map(({type}) => type);

function again(here, welcome = {resumed: true}) {
  here.socket.cut();
  comeBack(here);
  here.socket.welcome(welcome);
}

test("An edit, a deletion and an emoji are sent as they are, and settle with the ack's numbers.", async () => {
  const here = joined();
  const doings = [
    [() => here.client.edit("lobby", 7, "better"), {type: "edit", id: 7, content: "better"}],
    [() => here.client.remove("lobby", 7), {type: "delete", id: 7}],
    [() => here.client.react("lobby", 7, "👍", true), {type: "react", id: 7, emoji: "👍", on: true}],
    [() => here.client.react("lobby", 7, "👍", false), {type: "react", id: 7, emoji: "👍", on: false}],
  ];
  for (const [doing, expected] of doings) {
    const promise = doing();
    const {ref, ...command} = sent(here).at(-1);
    assert.deepEqual(command, {...expected, room: "lobby"});
    here.socket.say({type: "ack", room: "lobby", ref, id: 7, seq: 9, timestamp: 1});
    assert.deepEqual(await promise, {id: 7, seq: 9});
  }
  assert.deepEqual(here.of("sent"), [], "that is for messages");
});

test("An edit whose answer was lost is sent again with its ref, and settles once.", async () => {
  const here = joined();
  const editing = here.client.edit("lobby", 7, "better");
  const [first] = sent(here);
  again(here);
  assert.deepEqual(sent(here), [first]);
  again(here);
  here.socket.ack(first, 9);
  here.socket.ack(first, 9);
  assert.equal((await editing).seq, 9);
  again(here);
  assert.deepEqual(sent(here), []);
});

test("Changes made offline are sent in their order, behind the waiting messages.", () => {
  const here = joined();
  here.socket.cut();
  here.client.send("lobby", "one");
  here.client.edit("lobby", 7, "better");
  here.client.react("lobby", 7, "👍");
  here.client.send("lobby", "two");
  here.client.remove("lobby", 8);
  assert.deepEqual(here.client.pending("lobby").map(({content}) => content), ["one", "two"]);
  comeBack(here);
  here.socket.welcome({resumed: true});
  for (let seq = 1; seq <= 5; seq += 1) {
    assert.equal(sent(here).length, seq, "one is under way at a time");
    here.socket.ack(sent(here).at(-1), seq);
  }
  assert.deepEqual(types(here), ["message", "edit", "react", "message", "delete"]);
});

test("`busy` is tried again with the same ref; nothing overtakes it.", () => {
  const here = joined();
  here.client.edit("lobby", 7, "better");
  here.client.remove("lobby", 7);
  here.socket.refuse(sent(here)[0], "busy", {retryAfter: 800});
  here.clock.pass(800);
  assert.deepEqual(types(here), ["edit", "edit"]);
  assert.equal(sent(here)[0].ref, sent(here)[1].ref);
});

for (const code of ["not_found", "forbidden", "too_many_emoji", "bad_field", "not_joined", "of_the_future"]) {
  test(`\`${code}\` refuses a change for good, and the next goes.`, async () => {
    const here = joined();
    const reacting = here.client.react("lobby", 7, "👍");
    here.client.send("lobby", "next");
    here.socket.refuse(sent(here)[0], code);
    await assert.rejects(reacting, {name: "ChatError", code});
    const [{code: told, room, command}] = here.of("error");
    assert.deepEqual([told, room, command], [code, "lobby", "react"]);
    assert.deepEqual(here.of("refused"), []);
    assert.deepEqual(types(here), ["react", "message"]);
    again(here);
    assert.deepEqual(types(here), ["message"]);
  });
}

test("A command that the server would refuse is refused here.", async () => {
  const here = joined({outboxLimit: 1});
  await assert.rejects(here.client.edit("lobby", 7, " "), {code: "bad_field", field: "content"});
  await assert.rejects(here.client.edit("lobby", 7, "x".repeat(4001)), {code: "bad_field"});
  await assert.rejects(here.client.react("lobby", 7, ""), {code: "bad_field", field: "emoji"});
  await assert.rejects(here.client.react("lobby", 7, "👍".repeat(17)), {code: "bad_field", field: "emoji"});
  await assert.rejects(here.client.remove("garden", 7), {code: "not_joined"});
  assert.deepEqual(sent(here), []);
  here.client.remove("lobby", 7);
  await assert.rejects(here.client.remove("lobby", 8), {code: "outbox_full"});
});

test("In another epoch the id is another message's: the change is given up.", async () => {
  const here = joined();
  here.client.send("lobby", "said anyway");
  const editing = here.client.edit("lobby", 7, "better");
  again(here, {epoch: "e2", seq: 90});
  await assert.rejects(editing, {code: "not_found"});
  here.socket.ack(sent(here)[0], 91);
  assert.deepEqual(types(here), ["message"]);
});

test("A reset in the same epoch gives up nothing.", () => {
  const here = joined();
  here.client.edit("lobby", 7, "better");
  again(here, {seq: 90, resumed: false});
  assert.deepEqual(types(here), ["edit"]);
});

test("Leaving and closing give changes up; messages wait for who joins again.", async () => {
  const left = joined();
  const leaving = left.client.edit("lobby", 7, "better");
  left.client.leave("lobby");
  await assert.rejects(leaving, {code: "left"});

  const here = joined();
  const closing = here.client.edit("lobby", 7, "better");
  here.client.send("lobby", "waits");
  here.client.close();
  await assert.rejects(closing, {code: "closed"});
  here.client.join("lobby");
  here.client.connect();
  here.socket.accept();
  here.socket.welcome();
  assert.deepEqual(types(here), ["message"]);
});

test("Changes are not kept for another page.", async () => {
  const store = new FakeStore();
  const here = joined({store});
  await here.client.restored;
  here.client.edit("lobby", 7, "better");
  await settle();
  assert.equal(store.entries.size, 0);
});

test("A change that nobody looks at is no unhandled rejection.", async () => {
  const {client} = world();
  client.edit("lobby", 1, "x");
  client.remove("lobby", 1);
  client.react("lobby", 1, "");
  client.search("lobby", "");
  await settle();
});

// --- Questions ---

test("History is asked for after an id, too.", async () => {
  const here = joined();
  const asking = here.client.history("lobby", {after: 3, limit: 10});
  const {ref, ...command} = here.socket.last("history");
  assert.deepEqual(command, {type: "history", room: "lobby", after: 3, limit: 10});
  here.socket.say({type: "history", room: "lobby", messages: [], more: true, timestamp: 1, ref});
  assert.equal((await asking).more, true);
});

test("A search finds, is refused, and ends with its link.", async () => {
  const here = joined();
  const found = here.client.search("lobby", "hello", {before: 90});
  const {ref, ...command} = here.socket.last("search");
  assert.deepEqual(command, {type: "search", room: "lobby", query: "hello", before: 90, limit: 20});
  here.socket.say({type: "found", room: "lobby", messages: [{id: 3, seq: 3}], more: false, timestamp: 1, ref});
  assert.deepEqual(bare((await found).messages), [{id: 3, seq: 3}]);
  assert.equal(here.of("found").length, 1);
  await assert.rejects(here.client.search("lobby", " "), {code: "bad_field", field: "query"});
  await assert.rejects(here.client.search("lobby", "x".repeat(201)), {code: "bad_field", field: "query"});
  const refused = here.client.search("lobby", `z${"\u0301".repeat(9)}`);
  here.socket.refuse(here.socket.last("search"), "bad_field", {field: "query"});
  await assert.rejects(refused, {code: "bad_field"});
  assert.equal(here.of("error")[0].command, "search");
  const lost = here.client.search("lobby", "hello");
  here.socket.cut();
  await assert.rejects(lost, {code: "disconnected"});
});

const message = (id, more = {}) => ({id, seq: id, username: "Bob", content: `m${id}`, timestamp: id, ...more});

test("A change that overtakes the answer with its message is in the answer.", async () => {
  const here = joined({seq: 20});
  const asking = here.client.history("lobby");
  const search = here.client.search("lobby", "m");
  here.socket.change("edit", 1, 21, {content: "better", edited: 5});
  here.socket.change("delete", 2, 22);
  here.socket.change("react", 3, 23, {reactions: [{emoji: "👍", usernames: ["Bob"], count: 1}]});
  here.socket.change("edit", 4, 24, {content: "old news"});
  here.socket.change("position", 0, 25);
  const {ref} = here.socket.last("history");
  const messages = [message(1), message(2), message(3), message(4, {seq: 25, content: "newer"}), message(5)];
  here.socket.say({type: "history", room: "lobby", messages, more: false, timestamp: 1, ref});
  const expected = [
    message(1, {seq: 21, content: "better", edited: 5}),
    message(2, {seq: 22, content: "", deleted: true}),
    message(3, {seq: 23, reactions: [{emoji: "👍", usernames: ["Bob"], count: 1}]}),
    message(4, {seq: 25, content: "newer"}),
    message(5),
  ];
  assert.deepEqual(bare((await asking).messages), expected);
  assert.deepEqual(bare(here.of("history")[0].messages), expected);
  here.socket.change("delete", 5, 26);
  const found = {messages: [message(5), message(1)], more: false, timestamp: 1, ref: here.socket.last("search").ref};
  here.socket.say({type: "found", room: "lobby", ...found});
  assert.deepEqual((await search).messages.map(({content}) => content), ["", "better"]);
});

test("A question that a reset overtakes is lost, and its late answer is not told.", async () => {
  const here = joined({seq: 20});
  here.client.join("garden");
  here.socket.welcome({room: "garden"});
  const asking = here.client.history("lobby");
  const elsewhere = here.client.history("garden");
  here.socket.welcome({seq: 90, resumed: false});
  await assert.rejects(asking, {code: "disconnected"});
  for (const {ref} of here.socket.of("history")) {
    here.socket.say({type: "history", room: "lobby", messages: [message(1)], more: false, timestamp: 1, ref});
  }
  assert.deepEqual(bare((await elsewhere).messages), [message(1)]);
  assert.equal(here.of("history").length, 1);
});

test("A frame makes of a message what it says, and nothing of another or a newer one.", () => {
  const full = message(1, {replyTo: 9, edited: 3, reactions: [{emoji: "👍", usernames: ["Bob"], count: 1}]});
  const frame = (type, more) => ({type, room: "lobby", id: 1, seq: 5, ...more});
  assert.deepEqual(changed(full, frame("edit", {content: "x"})), message(1, {seq: 5, content: "x", replyTo: 9}));
  assert.deepEqual(changed(full, frame("delete")), message(1, {seq: 5, content: "", deleted: true, replyTo: 9}));
  assert.deepEqual(changed(full, frame("react", {reactions: []})), {...full, seq: 5, reactions: []});
  const state = frame("message", {username: "Bob", content: "new", timestamp: 1});
  assert.deepEqual(changed(full, {...state, follows: 3}), state);
  const deleted = message(1, {content: "", deleted: true});
  assert.deepEqual(changed(deleted, frame("edit", {content: "back"})), message(1, {seq: 5, content: "back"}));
  for (const nothing of [frame("edit", {id: 2}), frame("edit", {seq: 1}), frame("typing")]) {
    assert.equal(changed(full, nothing), full);
  }
});
