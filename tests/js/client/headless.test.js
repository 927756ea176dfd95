/** A room as a headless store: its snapshot is what the log has, and the same object until something changes. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {bare, comeBack, keyOf, settle, world} from "../support/helpers.js";
import {RoomServer} from "../support/room-server.js";

/** A client with the lobby as a store; the server has the messages 1 to `count` of Bob. */
async function opened({count = 3, ...place} = {}) {
  const server = new RoomServer();
  for (let id = 1; id <= count; id += 1) server.say("Bob", `message ${id}`);
  const here = world();
  const room = here.client.room("lobby", place);
  here.client.connect();
  here.socket.accept();
  await answered(here, server);
  return {server, here, room, seen: () => room.getSnapshot()};
}

/** The server handles all commands, and its answers arrive. */
async function answered(here, server) {
  for (let turn = 0; turn < 4; turn += 1) {
    server.handle(here.socket, "Ann");
    await settle();
    server.answer();
    await settle();
  }
}

const texts = ({messages}) => messages.map(({content}) => content);
const ids = ({messages}) => messages.map(({id}) => id);

test("The store joins, and has the latest messages with all changes.", async () => {
  const {server, seen} = await opened();
  assert.deepEqual([texts(seen()), seen().live, seen().more], [["message 1", "message 2", "message 3"], true, false]);
  server.say("Bob", "fresh");
  server.change("edit", 2, {content: "corrected", edited: 9});
  server.change("delete", 1);
  server.change("react", 3, {reactions: [{emoji: "👍", usernames: ["Bob"], count: 1, by: [keyOf("Bob")]}]});
  assert.deepEqual(texts(seen()), ["", "corrected", "message 3", "fresh"]);
  assert.deepEqual([seen().messages[0].deleted, seen().messages[2].reactions[0].emoji], [true, "👍"]);
});

test("A snapshot is the same object until something changes; an unchanged message stays the same object.", async () => {
  const {server, here, room, seen} = await opened();
  let calls = 0;
  here.clock.pass(100);
  const end = room.subscribe(() => (calls += 1));
  const before = seen();
  assert.equal(seen(), before);
  server.change("edit", 2, {content: "corrected", edited: 9});
  assert.equal(calls, 1);
  assert.notEqual(seen(), before);
  assert.deepEqual(texts(before), ["message 1", "message 2", "message 3"]);
  assert.equal(seen().messages[0], before.messages[0]);
  assert.notEqual(seen().messages[1], before.messages[1]);
  end();
  here.clock.pass(100);
  server.say("Bob", "unheard");
  assert.equal(calls, 1);
});

test("A message is pending until it arrives, and is never shown twice.", async () => {
  const {server, here, room, seen} = await opened();
  const shown = [];
  room.subscribe(() => shown.push([...texts(seen()), ...seen().pending.map(({content}) => content)]));
  const sent = room.send("mine");
  here.clock.pass(100);
  assert.deepEqual(seen().pending.map(({content}) => content), ["mine"]);
  const {ref} = here.socket.last("message");
  here.socket.ack({ref, room: "lobby"}, 4);
  await sent;
  assert.deepEqual([seen().messages.length, seen().pending[0].ref], [3, ref]);
  server.handle(here.socket, "Ann");
  assert.deepEqual([texts(seen()).at(-1), seen().pending.length], ["mine", 0]);
  assert.ok(seen().messages.at(-1).own);
  here.clock.pass(100);
  for (const list of shown) assert.ok(list.filter((text) => text === "mine").length <= 1, `${list}`);
});

test("A message that arrives before its ack takes the pending one's place.", async () => {
  const {server, here, room, seen} = await opened();
  const sent = room.send("mine");
  server.say("Ann", "mine");
  assert.deepEqual([texts(seen()).at(-1), seen().pending.length], ["mine", 0]);
  here.socket.ack(here.socket.last("message"), 4);
  await sent;
  assert.deepEqual([seen().messages.length, seen().pending.length], [4, 0]);
});

test("A refused message is among the failed ones until it is discarded.", async () => {
  const {here, room, seen} = await opened();
  const sent = room.send("mine");
  here.socket.refuse(here.socket.last("message"), "muted");
  await assert.rejects(sent, {code: "muted"});
  assert.deepEqual([seen().pending.length, seen().failed[0].failed.code], [0, "muted"]);
  room.discard(seen().failed[0].ref);
  assert.equal(seen().failed.length, 0);
});

test("Older pages come before, and a full room drops its oldest messages.", async () => {
  const {server, here, room, seen} = await opened({count: 120});
  assert.deepEqual([seen().messages.length, seen().messages[0].id, seen().more], [50, 71, true]);
  room.older();
  assert.equal(seen().loading, true);
  await answered(here, server);
  room.older();
  await answered(here, server);
  assert.deepEqual([seen().messages.length, seen().more, seen().loading], [120, false, false]);
  for (let id = 121; id <= 1_100; id += 1) server.say("Bob", `message ${id}`);
  assert.deepEqual([seen().messages.length, seen().messages[0].id, seen().more], [1_070, 31, true]);
});

test("Where the oldest messages were dropped, a change of one of them leaves no gap.", async () => {
  const {server, here, seen} = await opened({count: 0});
  for (let id = 1; id <= 1_100; id += 1) server.say("Bob", `message ${id}`);
  here.socket.cut();
  server.change("edit", 50, {content: "old", edited: 9});
  comeBack(here);
  await answered(here, server);
  assert.deepEqual([seen().messages.length, ids(seen())[0], seen().more], [1_000, 101, true]);
});

test("After a loss it goes on; a change of a message that is not here makes no gap.", async () => {
  const {server, here, seen} = await opened({count: 60});
  here.socket.cut();
  assert.equal(seen().live, false);
  server.say("Bob", "missed");
  server.change("edit", 1, {content: "old", edited: 9});
  server.change("edit", 60, {content: "new", edited: 9});
  comeBack(here);
  await answered(here, server);
  assert.deepEqual([ids(seen())[0], seen().messages.length, seen().live], [11, 51, true]);
  assert.deepEqual(texts(seen()).slice(-2), ["new", "missed"]);
});

test("A loss before the first page has come leaves no gap either.", async () => {
  const server = new RoomServer();
  for (let id = 1; id <= 60; id += 1) server.say("Bob", `message ${id}`);
  const here = world();
  const room = here.client.room("lobby");
  here.client.connect();
  here.socket.accept();
  server.handle(here.socket, "Ann");
  here.socket.cut();
  server.change("edit", 1, {content: "old", edited: 9});
  server.say("Bob", "missed");
  comeBack(here);
  server.handle(here.socket, "Ann");
  assert.deepEqual(ids(room.getSnapshot()), [62]);
  await answered(here, server);
  assert.equal(ids(room.getSnapshot())[0], 12);
});

test("A reset drops the messages and loads the latest of the new log.", async () => {
  const {server, here, seen} = await opened();
  here.socket.cut();
  server.epoch = "e2";
  server.messages.clear();
  server.say("Bob", "another log");
  comeBack(here);
  server.handle(here.socket, "Ann");
  assert.deepEqual([texts(seen()), seen().live], [[], false]);
  await answered(here, server);
  assert.deepEqual([texts(seen()), seen().live], [["another log"], true]);
});

test("A page's own messages are shown before there is a connection.", async () => {
  const server = new RoomServer();
  for (let id = 1; id <= 20; id += 1) server.say("Bob", `message ${id}`);
  const {messages, seq, epoch} = structuredClone(server.page());
  const here = world();
  const room = here.client.room("lobby", {messages, more: true, since: seq, epoch});
  assert.equal(ids(room.getSnapshot())[0], 11);
  server.say("Bob", "missed");
  here.client.connect();
  here.socket.accept();
  await answered(here, server);
  assert.deepEqual([room.getSnapshot().messages.length, texts(room.getSnapshot()).at(-1)], [11, "missed"]);
});

test("Messages without their position are no beginning: the latest page is fetched.", async () => {
  const {seen} = await opened({messages: [{type: "message", id: 1, seq: 1, content: "stale"}]});
  assert.deepEqual(texts(seen()), ["message 1", "message 2", "message 3"]);
});

test("A room that was joined before the store was asked for has all messages too.", async () => {
  const server = new RoomServer();
  const here = world();
  here.client.join("lobby");
  here.client.connect();
  here.socket.accept();
  await answered(here, server);
  server.say("Bob", "before");
  const room = here.client.room("lobby");
  server.handle(here.socket, "Ann");
  server.say("Bob", "while the page is on its way");
  await answered(here, server);
  assert.deepEqual(texts(room.getSnapshot()), ["before", "while the page is on its way"]);
  assert.equal(room.getSnapshot().username, "Ann");
});

test("The store has the people, the user's name and the room's settings.", async () => {
  const {here, seen} = await opened();
  here.socket.say({type: "userList", room: "lobby", users: ["Ann", "Bob"], count: 2, timestamp: 1});
  here.socket.say({type: "room", room: "lobby", role: "owner", slow: 5, timestamp: 1});
  here.socket.say({type: "userList", room: "other", users: ["Eve"], count: 1, timestamp: 1});
  assert.deepEqual([seen().people, seen().username], [{users: ["Ann", "Bob"], count: 2}, "Ann"]);
  assert.deepEqual([seen().about.role, seen().about.slow], ["owner", 5]);
});

test("A removed user has no messages any more, and the store is made again.", async () => {
  const {server, here, room, seen} = await opened();
  here.socket.say({type: "removed", room: "lobby", code: "banned", message: "No.", timestamp: 1});
  assert.deepEqual([seen().messages, seen().error.code, seen().live], [[], "banned", false]);
  const again = here.client.room("lobby");
  assert.notEqual(again, room);
  await answered(here, server);
  assert.equal(again.getSnapshot().messages.length, 3);
});

test("A refused join is the store's error.", async () => {
  const here = world();
  const room = here.client.room("lobby");
  here.client.connect();
  here.socket.accept();
  here.socket.refuse(here.socket.last("join"), "no_room");
  await settle();
  assert.equal(room.getSnapshot().error.code, "no_room");
});

test("Another user's messages are own ones after the connection came back as another user.", async () => {
  const {server, here, seen} = await opened();
  assert.deepEqual(seen().messages.map(({own}) => own), [false, false, false]);
  here.socket.cut();
  comeBack(here);
  for (let turn = 0; turn < 3; turn += 1) {
    server.handle(here.socket, "Bob");
    await settle();
    server.answer();
    await settle();
  }
  assert.deepEqual(seen().messages.map(({own}) => own), [true, true, true]);
});

test("Two callers share a store; the last one leaves the room.", async () => {
  const {here, room, seen} = await opened();
  assert.equal(here.client.room("lobby"), room);
  room.close();
  assert.equal(here.socket.of("leave").length, 0);
  room.close();
  room.close();
  assert.equal(here.socket.of("leave").length, 1);
  assert.equal(seen().error.code, "left");
  assert.notEqual(here.client.room("lobby"), room);
  const next = here.client.room("lobby");
  here.client.close();
  assert.equal(next.getSnapshot().error.code, "closed");
  assert.equal(here.clock.timers, 0);
});

test("Through losses and changes the store ends with the server's messages.", async () => {
  const {server, here, room, seen} = await opened({count: 0});
  for (let round = 0; round < 20; round += 1) {
    room.send(`mine ${round}`);
    server.say("Bob", `his ${round}`);
    await answered(here, server);
    const id = [...server.messages.keys()][round];
    if (round % 3 === 0) server.change("edit", id, {content: `edited ${round}`, edited: 9});
    if (round % 5 === 4) {
      here.socket.cut();
      server.say("Bob", `missed ${round}`);
      comeBack(here);
    }
    here.clock.pass(1_000);
    await answered(here, server);
  }
  const plain = (messages) => bare(messages).sort((a, b) => a.id - b.id);
  assert.deepEqual(plain(seen().messages), plain([...server.messages.values()]));
  assert.deepEqual([seen().pending.length, seen().messages.length], [0, 44]);
});
