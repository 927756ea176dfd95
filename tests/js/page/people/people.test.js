/** The users in a room: the list, typing, and the sentences about them. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {ConnectionView} from "../../../../chat/static/chat/page/entrance/entrance.js";
import {AnnouncementLimit} from "../../../../chat/static/chat/page/log/notifications.js";
import {hueOf} from "../../../../chat/static/chat/page/log/message-view.js";
import {TypingPeople, whoIsHere} from "../../../../chat/static/chat/page/people/people.js";
import {
  joinsAndLeaves,
  connectionWords,
  errorWords,
  names,
  typingWords,
} from "../../../../chat/static/chat/page/shell/words.js";

const said = (parts) => parts.map((part) => part.name ?? part).join("");

test("The list starts with the reader, the others by name.", () => {
  const {me, others, hidden, count} = whoIsHere({users: ["zoe", "Bob", "Ann", "ann2"], count: 4, own: 2});
  assert.deepEqual([me, others, hidden, count], ["Ann", ["ann2", "Bob", "zoe"], 0, 4]);
});

test("A user with the reader's name stands among the others.", () => {
  const {me, others, hidden} = whoIsHere({users: ["Ann", "Bob", "Ann"], count: 3, own: 0});
  assert.deepEqual([me, others, hidden], ["Ann", ["Ann", "Bob"], 0]);
});

test("A capped list tells how many more there are.", () => {
  const users = Array.from({length: 200}, (_, n) => `guest ${n}`);
  const here = whoIsHere({users, count: 731, own: -1});
  assert.deepEqual([here.me, here.others.length, here.hidden], [undefined, 200, 531]);
});

test("A name keeps its colour.", () => {
  assert.equal(hueOf("Ann", 8), hueOf("Ann", 8));
  const hues = new Set(Array.from({length: 100}, (_, n) => hueOf(`guest ${n}`, 8)));
  assert.deepEqual([...hues].sort(), [0, 1, 2, 3, 4, 5, 6, 7]);
});

test("Typing ends by itself after five seconds, and at once with the message.", () => {
  const typing = new TypingPeople();
  typing.typed("Bob", 0);
  typing.typed("Cy", 3_000);
  assert.equal(typing.nextChange, 5_000);
  assert.deepEqual(typing.names(4_999), ["Bob", "Cy"]);
  assert.deepEqual(typing.names(5_000), ["Cy"]);
  typing.typed("Bob", 5_000);
  typing.stopped("Cy");
  assert.deepEqual(typing.names(5_001), ["Bob"]);
  typing.clear();
  assert.equal(typing.nextChange, null);
});

test("Sentences name a few people and count the others.", () => {
  assert.equal(said(names(["Ann"])), "Ann");
  assert.equal(said(names(["Ann", "Bob"])), "Ann and Bob");
  assert.equal(said(names(["Ann", "Bob", "Cy"])), "Ann, Bob and Cy");
  assert.equal(said(names(["Ann", "Bob", "Cy", "Di", "Ed"])), "Ann, Bob and 3 others");
  assert.equal(said(joinsAndLeaves({joined: ["Ann"], left: []})), "Ann joined");
  assert.equal(said(joinsAndLeaves({joined: ["Ann", "Bob"], left: ["Cy"]})), "Ann and Bob joined · Cy left");
  assert.equal(said(typingWords([])), "");
  assert.equal(said(typingWords(["Ann"])), "Ann is typing…");
  assert.equal(said(typingWords(["Ann", "Bob", "Cy"])), "Ann, Bob and Cy are typing…");
  assert.equal(said(typingWords(["Ann", "Bob", "Cy", "Di"])), "Several people are typing…");
});

test("Names stay apart from the words around them.", () => {
  assert.deepEqual(typingWords(["Ann"]), [{name: "Ann"}, " is typing…"]);
});

test("The connection is told in words.", () => {
  const words = (detail, seconds) => connectionWords(detail, seconds).join("");
  assert.equal(words({state: "connecting"}), "Connecting…");
  assert.equal(words({state: "open"}), "Connected");
  assert.equal(words({state: "late"}), "Connected; others may be late");
  assert.equal(words({state: "waiting"}, 4), "Reconnecting in 4 s…");
  assert.equal(words({state: "waiting"}, 0), "Reconnecting…");
  assert.equal(words({state: "offline"}), "Offline");
  assert.match(words({state: "closed", code: 4403}), /^Disconnected: you were .* staff/);
  assert.equal(words({state: "closed", code: 4403, reason: "Bye."}), "Disconnected: Bye.");
  assert.match(words({state: "closed", code: 4499}), /4499/);
});

test("The server's errors become sentences.", () => {
  const words = (message, field) => errorWords({message, field});
  assert.equal(words("username: 'bob' is taken", "username"), "The name 'bob' is taken.");
  assert.equal(words("content: must not be blank", "content"), "The message must not be blank.");
  assert.equal(words("limit: is odd", "limit"), "limit: is odd.");
  assert.match(errorWords({code: "ref_reused", message: "ref: is another one's", field: "ref"}), /try again\.$/);
  assert.equal(words("query: is odd", "query"), "The search text is odd.");
  assert.match(words("replyTo: there is no such message in this room", "replyTo"), /^The message that you answer .*\.$/);
  assert.equal(words("Too many rooms.", undefined), "Too many rooms.");
});

test("A few messages are read out; a flood is counted.", () => {
  const announcements = new AnnouncementLimit();
  assert.deepEqual([1, 1, 1].map((count) => announcements.readsOut(count, 0)), [true, true, true]);
  assert.equal(announcements.readsOut(1, 100), false);
  assert.equal(announcements.readsOut(20, 200), false);
  assert.equal(announcements.summary(), 21);
  assert.equal(announcements.summary(), 0);
  assert.equal(announcements.readsOut(1, 4_100), true);
});

test("The page shows that events may be late, until the server revokes it or the connection is lost.", () => {
  const element = () => ({dataset: {}, textContent: "", addEventListener() {}});
  const [box, said, shown, button] = [element(), element(), element(), element()];
  const view = new ConnectionView({box, said, shown, button, onTry() {}});
  view.draw({state: "open"});
  view.late(true);
  assert.deepEqual([box.dataset.state, said.textContent], ["late", "Connected; others may be late"]);
  view.late(false);
  assert.deepEqual([box.dataset.state, said.textContent], ["open", "Connected"]);
  view.late(true);
  view.draw({state: "offline"});
  view.draw({state: "open"});
  assert.equal(box.dataset.state, "open");
});
