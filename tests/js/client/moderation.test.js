/** Commands of moderators and owners, and the clients of removed users. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {aboutRoom} from "../../../chat/static/chat/client/protocol.js";
import {comeBack, joined, settle, world} from "../support/helpers.js";

const removed = (more = {}) => ({type: "removed", room: "lobby", code: "banned", message: "No.", timestamp: 1, ...more});

/** Each command of Moderation, and what goes over the wire. */
const COMMANDS = [
  [(m) => m.kick("lobby", "Bob", {reason: "loud"}), {type: "kick", username: "Bob", reason: "loud"}],
  [(m) => m.mute("lobby", "Bob", {seconds: 600}), {type: "mute", username: "Bob", seconds: 600, reason: ""}],
  [(m) => m.unmute("lobby", "Bob"), {type: "mute", username: "Bob", on: false}],
  [(m) => m.ban("lobby", "Bob"), {type: "ban", username: "Bob", reason: ""}],
  [(m) => m.unban("lobby", "Bob"), {type: "ban", username: "Bob", on: false}],
  [(m) => m.setRole("lobby", "Bob", "none"), {type: "role", username: "Bob", role: "none"}],
  [(m) => m.configure("lobby", {slow: 30}), {type: "room", slow: 30}],
  [(m) => m.invite("lobby", "Bob"), {type: "invite", username: "Bob"}],
  [(m) => m.report("lobby", 7, {reason: "spam"}), {type: "report", id: 7, reason: "spam"}],
];

test("Each command has its fields, and settles with its ack.", async () => {
  for (const [give, expected] of COMMANDS) {
    const here = joined();
    const giving = give(here.client.moderation);
    const {ref, room, ...command} = here.socket.sent.at(-1);
    assert.deepEqual([room, command], ["lobby", expected]);
    here.socket.say({type: "ack", room: "lobby", ref, timestamp: 5});
    assert.equal((await giving).timestamp, 5);
    assert.deepEqual(here.of("sent"), []);
  }
});

test("A refusal rejects, and is told with the command's type.", async () => {
  const here = joined();
  const kicking = here.client.moderation.kick("lobby", "Nobody");
  here.socket.refuse(here.socket.last("kick"), "no_person", {field: "username"});
  await assert.rejects(kicking, {code: "no_person", field: "username"});
  assert.deepEqual(here.of("error").map(({command, code}) => [command, code]), [["kick", "no_person"]]);
});

test("A lost connection rejects: nobody is banned twice, or a minute later.", async () => {
  const here = joined();
  const banning = here.client.moderation.ban("lobby", "Bob");
  here.socket.cut();
  await assert.rejects(banning, {code: "disconnected"});
  comeBack(here);
  here.socket.welcome();
  assert.deepEqual(here.socket.of("ban"), []);
  here.socket.cut();
  await assert.rejects(here.client.moderation.ban("lobby", "Bob"), {code: "disconnected"});
});

test("Members and links are answered by frames of their own.", async () => {
  const here = joined();
  const asking = here.client.moderation.members("lobby");
  const members = [{username: "Ann", role: "owner"}];
  here.socket.say({type: "members", room: "lobby", members, timestamp: 1, ref: here.socket.last("members").ref});
  assert.deepEqual((await asking).members, members);
  const inviting = here.client.moderation.invite("lobby");
  here.socket.say({type: "invite", path: "/i/x/", expires: 9, timestamp: 1, ref: here.socket.last("invite").ref});
  const {path, expires} = await inviting;
  assert.deepEqual([path, expires], ["/i/x/", 9]);
});

test("An address is restricted only where that is asked for, and how many share it is told before.", async () => {
  const here = joined();
  const asking = here.client.moderation.sharing("lobby", "Bob");
  const {ref} = here.socket.last("sharing");
  here.socket.say({type: "sharing", room: "lobby", username: "Bob", others: 2, restrictable: true, timestamp: 1, ref});
  const {others, restrictable} = await asking;
  assert.deepEqual([others, restrictable], [2, true]);
  for (const verb of ["kick", "mute", "ban"]) {
    here.client.moderation[verb]("lobby", "Bob");
    assert.equal("address" in JSON.parse(JSON.stringify(here.socket.last(verb))), false);
    here.client.moderation[verb]("lobby", "Bob", {address: true});
    assert.equal(here.socket.last(verb).address, true);
  }
});

test("A room that is made, and one of two, are told by name.", async () => {
  const here = joined();
  for (const [making, type] of [[here.client.create("Tea", {kind: "private"}), "create"], [here.client.direct("Bob"), "direct"]]) {
    here.socket.say({type: "ack", room: "_abc", timestamp: 1, ref: here.socket.last(type).ref});
    assert.equal((await making).room, "_abc");
  }
  assert.deepEqual([here.socket.last("create").title, here.socket.last("direct").username], ["Tea", "Bob"]);
});

test("Missing fields of a room event are as in a plain public room.", () => {
  const here = joined();
  here.socket.say({type: "room", room: "lobby", role: "moderator", slow: 30, timestamp: 1});
  const plain = {role: "member", title: "", kind: "public", readOnly: false, slow: 0, archived: false, closed: null, muted: null};
  assert.deepEqual(aboutRoom(here.of("room")[0]), {...plain, role: "moderator", slow: 30});
  assert.equal(aboutRoom({muted: 0}).muted, 0);
});

// --- Out of the room ---

test("A removed user does not come back automatically, also over another connection.", () => {
  const here = joined();
  here.socket.say(removed({retryAfter: 60_000}));
  assert.deepEqual(here.of("removed").map(({code, retryAfter}) => [code, retryAfter]), [["banned", 60_000]]);
  here.clock.pass(120_000);
  here.socket.cut();
  comeBack(here);
  here.clock.pass(60_000);
  assert.deepEqual(here.socket.of("join"), []);
});

test("A user who joins again resumes, and waiting messages are sent.", () => {
  const here = joined({seq: 3});
  here.socket.message(4);
  here.client.send("lobby", "before");
  here.socket.say(removed());
  here.client.send("lobby", "after");
  assert.deepEqual(here.socket.of("message").map(({content}) => content), ["before"]);
  here.client.join("lobby");
  const {since, epoch} = here.socket.last("join");
  assert.deepEqual([since, epoch], [4, "e1"]);
  here.socket.welcome({seq: 4, resumed: true});
  here.socket.ack(here.socket.last("message"), 5);
  assert.deepEqual(here.socket.of("message").map(({content}) => content), ["before", "before", "after"]);
});

test("After the removal no event of the room is sent or received, and queries end.", async () => {
  const here = joined();
  const asking = here.client.history("lobby");
  here.socket.say(removed());
  await assert.rejects(asking, {code: "disconnected"});
  here.socket.message(1);
  here.client.typing("lobby");
  here.client.read("lobby", 1);
  here.clock.pass(10_000);
  assert.deepEqual([here.of("message"), here.socket.of("typing"), here.socket.of("read")], [[], [], []]);
});

test("A room that the user is not in, or has left already, gives no events.", () => {
  const here = joined();
  here.socket.say(removed({room: "garden"}));
  here.socket.say(removed());
  here.socket.say(removed());
  assert.equal(here.of("removed").length, 1);
});

test("The other rooms go on.", () => {
  const here = joined();
  here.client.join("garden");
  here.socket.welcome({room: "garden"});
  here.socket.say(removed());
  here.socket.message(1, {room: "garden"});
  here.client.send("garden", "hi");
  assert.deepEqual(here.of("message").map(({room}) => room), ["garden"]);
  assert.equal(here.socket.last("message").room, "garden");
});

// --- Tokens ---

/** A world with tokens; `answers` are given one after another, an Error is thrown. */
function withTokens(...answers) {
  const token = async () => {
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const here = world({token});
  here.client.join("lobby");
  here.client.connect();
  here.socket.accept();
  return here;
}

test("The token goes with each join, and a new one with each connection.", async () => {
  const here = withTokens("t1", "t2");
  assert.deepEqual(here.socket.of("join"), []);
  await settle();
  assert.equal(here.socket.last("join").token, "t1");
  here.socket.welcome();
  here.client.join("garden");
  assert.equal(here.socket.last("join").token, "t1");
  here.socket.cut();
  comeBack(here);
  await settle();
  assert.deepEqual(here.socket.of("join").map(({token}) => token), ["t2", "t2"]);
});

test("Before it expires a newer one is shown, and goes with the joins from then on.", async () => {
  const here = withTokens("t1", "t2");
  await settle();
  here.socket.welcome();
  here.socket.say({type: "expiring", after: 60_000, timestamp: 1});
  await settle();
  assert.deepEqual(here.of("expiring").map(({after}) => after), [60_000]);
  assert.equal(here.socket.last("token").token, "t2");
  here.client.join("garden");
  assert.equal(here.socket.last("join").token, "t2");
});

test("Without the option an expiring token is only told of.", () => {
  const here = joined();
  here.socket.say({type: "expiring", after: 60_000, timestamp: 1});
  assert.deepEqual([here.of("expiring").length, here.socket.of("token")], [1, []]);
});

test("Where no token can be had, it is tried again, until the link is lost.", async () => {
  const here = withTokens(new Error("down"), "t1");
  await settle();
  assert.deepEqual(here.socket.of("join"), []);
  here.clock.pass(1_000);
  await settle();
  assert.equal(here.socket.last("join").token, "t1");

  const lost = withTokens(new Error("down"));
  await settle();
  lost.client.close();
  assert.equal(lost.clock.timers, 0);
});

test("A token that expired on its socket brings another socket with another token; a cookie's end does not.", async () => {
  const here = withTokens("t1", "t2");
  await settle();
  here.socket.welcome();
  here.socket.cut(4401);
  assert.equal(here.client.state, "waiting");
  comeBack(here);
  await settle();
  assert.equal(here.socket.last("join").token, "t2");

  const plain = joined();
  plain.socket.cut(4401);
  assert.equal(plain.client.state, "closed");
});

test("A user who was signed out and connects again is in their rooms again.", () => {
  const here = joined({seq: 3});
  here.socket.cut(4401);
  here.client.connect();
  here.socket.accept();
  assert.equal(here.socket.last("join").since, 3);
});
