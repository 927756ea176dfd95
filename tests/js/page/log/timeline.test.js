/** The timeline: each message once, in its latest state, in the log's order, in whatever order the frames arrive. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {rowsOf} from "../../../../chat/static/chat/page/log/rows.js";
import {KEEP, Timeline} from "../../../../chat/static/chat/page/log/timeline.js";
import {keyOf} from "../../support/helpers.js";
import {stepsOf} from "../../support/work.js";

const MINUTE = 60_000;
const dayOf = (timestamp) => String(Math.floor(timestamp / (24 * 60 * MINUTE)));

function message(id, username = "Bob", timestamp = id * 1_000, content = `m${id}`) {
  // The client has marked it.
  const own = username === "Ann";
  return {type: "message", room: "lobby", id, seq: id, username, by: keyOf(username), own, content, timestamp};
}

const page = (from, to, more = false) => ({messages: range(from, to), more});
const range = (from, to) => Array.from({length: to - from + 1}, (_, n) => message(from + n));

/** A timeline that received these messages, or began with them as its latest page. */
function timeline(...messages) {
  const here = new Timeline("Ann", keyOf("Ann"));
  here.latest({messages, more: false});
  return here;
}

const rows = (here, options = {}) => rowsOf(here, {dayOf, ...options});

/** The rows in short: what a reader would say stands there. */
function seen(here, options) {
  return rows(here, options).map((row) => {
    if (row.kind === "message") return `${row.continued ? "" : `${row.message.username}: `}${row.message.content}`;
    if (row.kind === "pending") return `(${row.entry.content}${row.entry.failed ? `: ${row.entry.failed}` : ""})`;
    if (row.kind === "notice") return `+${row.joined} -${row.left}`;
    return row.kind === "day" ? `day ${row.key.slice(4)}` : row.kind;
  });
}

const ids = (here) => here.messages.map(({id}) => id);

test("Messages stand in the log's order and once.", () => {
  const here = timeline(message(1), message(3));
  assert.deepEqual([2, 3, 4].map((id) => here.received(message(id))), [true, false, true]);
  assert.deepEqual(ids(here), [1, 2, 3, 4]);
});

test("History and live messages that overlap are one list.", () => {
  const here = timeline();
  here.received(message(5));
  here.latest(page(3, 6, true));
  assert.deepEqual([ids(here), here.shown.before], [[3, 4, 5, 6], true]);
  here.older(page(1, 2));
  assert.deepEqual([ids(here), here.shown.before], [[1, 2, 3, 4, 5, 6], false]);
});

test("A message from before what is here would leave a gap, and is left to history.", () => {
  const here = new Timeline("Ann", keyOf("Ann"));
  here.latest(page(5, 6, true));
  assert.equal(here.received(message(2)), false);
  here.pendingMessages.add({ref: "r", content: "hi", at: 1});
  here.confirm("r", {id: 3, seq: 3, timestamp: 1});
  assert.deepEqual([ids(here), here.pending], [[5, 6], []]);
});

test("A later change of a message wins over an earlier one that comes late.", () => {
  const here = timeline({...message(1), seq: 9, content: "edited"});
  here.received({...message(1), seq: 7, content: "before"});
  here.received({type: "edit", id: 1, seq: 8, content: "before too"});
  assert.equal(here.messages[0].content, "edited");
  here.received({...message(1), seq: 10, content: "at last"});
  assert.equal(here.messages[0].content, "at last");
});

test("Edits, emoji and deletions change the message that they are of, and only one that is here.", () => {
  const here = timeline(message(1), message(2));
  const reactions = [{emoji: "👍", usernames: ["Cy"], count: 1}];
  here.received({type: "react", id: 1, seq: 3, reactions});
  assert.deepEqual(here.find(1).reactions, reactions);
  here.received({type: "edit", id: 1, seq: 4, content: "better", edited: 99});
  assert.deepEqual([here.find(1).content, here.find(1).edited, here.find(1).reactions ?? []], ["better", 99, []]);
  here.received({type: "delete", id: 1, seq: 5});
  assert.deepEqual([here.find(1).content, here.find(1).deleted], ["", true]);
  assert.equal(here.received({type: "delete", id: 7, seq: 6}), false);
  assert.deepEqual(seen(here), ["day 0", "Bob: ", "m2"]);
});

test("A message of ours is pending, then acknowledged, then received: one row all the way.", () => {
  const here = timeline(message(1));
  here.pendingMessages.add({ref: "r", content: "hi", at: 2_000});
  const key = rows(here).at(-1).key;
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "(hi)"]);
  here.confirm("r", {id: 2, seq: 2, timestamp: 2_000});
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "Ann: hi"]);
  here.received(message(2, "Ann", 2_000, "hi"));
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "Ann: hi"]);
  assert.equal(rows(here).at(-1).key, key);
});

test("A message that arrives before its ack is not shown twice, not even in between.", () => {
  const here = timeline(message(1));
  here.pendingMessages.add({ref: "r", content: "hi", at: 2_000});
  here.received(message(2, "Ann", 2_000, "hi"));
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "Ann: hi"]);
  here.confirm("r", {id: 2, seq: 2, timestamp: 2_000});
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "Ann: hi"]);
});

test("The same words from another tab of ours are set right by the ack.", () => {
  const here = timeline();
  here.pendingMessages.add({ref: "r", content: "ok", at: 2_000});
  here.received(message(1, "Ann", 1_000, "ok"));
  here.confirm("r", {id: 2, seq: 2, timestamp: 2_000});
  assert.deepEqual(ids(here), [1, 2]);
  const refused = timeline();
  refused.pendingMessages.add({ref: "r", content: "ok", at: 2_000});
  refused.received(message(1, "Ann", 1_000, "ok"));
  refused.pendingMessages.fail("r", "No.");
  assert.deepEqual(seen(refused), ["day 0", "Ann: ok", "(ok: No.)"]);
});

test("The same words in old history are not taken for what is on its way.", () => {
  const here = timeline(message(10));
  here.pendingMessages.add({ref: "r", content: "ok", at: 20_000});
  here.older({messages: [message(2, "Ann", 2_000, "ok")], more: false});
  assert.deepEqual(seen(here).at(-1), "(ok)");
});

test("An ack for a message that others have answered already goes to its place.", () => {
  const here = timeline(message(1));
  here.pendingMessages.add({ref: "r", content: "hi", at: 2_000});
  here.received(message(3));
  here.confirm("r", {id: 2, seq: 2, timestamp: 2_000});
  assert.deepEqual(ids(here), [1, 2, 3]);
});

test("A failed message is tried again at the end, or discarded.", () => {
  const here = timeline();
  here.pendingMessages.add({ref: "a", content: "one", at: 1});
  here.pendingMessages.add({ref: "b", content: "two", at: 2});
  here.pendingMessages.fail("a", "No.");
  assert.deepEqual(seen(here), ["(one: No.)", "(two)"]);
  assert.equal(here.pendingMessages.retry("a").content, "one");
  assert.deepEqual(seen(here), ["(two)", "(one)"]);
  here.pendingMessages.take("b");
  assert.deepEqual(seen(here), ["(one)"]);
  assert.equal(here.pendingMessages.retry("gone"), undefined);
  here.confirm("gone", {id: 1, seq: 1, timestamp: 1});
  assert.deepEqual(ids(here), []);
});

test("One author's messages within five minutes stand together.", () => {
  const here = timeline(
    message(1, "Bob", 0),
    message(2, "Bob", 4 * MINUTE),
    message(3, "Bob", 10 * MINUTE),
    message(4, "Ann", 10 * MINUTE),
    message(5, "Bob", 10 * MINUTE),
  );
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "m2", "Bob: m3", "Ann: m4", "Bob: m5"]);
});

test("Each day has its line, and starts a new group.", () => {
  const day = 24 * 60 * MINUTE;
  const here = timeline(message(1, "Bob", day - 1), message(2, "Bob", day), message(3, "Bob", 3 * day));
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "day 1", "Bob: m2", "day 3", "Bob: m3"]);
});

test("The line stands before the first message of others that is new.", () => {
  const here = timeline(message(1), message(2));
  assert.deepEqual(seen(here, {line: 2}), ["day 0", "Bob: m1", "m2"]);
  for (const one of [message(3, "Ann"), message(4), message(5)]) here.received(one);
  assert.deepEqual(seen(here, {line: 2}), ["day 0", "Bob: m1", "m2", "Ann: m3", "unread", "Bob: m4", "m5"]);
  assert.deepEqual(seen(here, {line: 0}), ["day 0", "unread", "Bob: m1", "m2", "Ann: m3", "Bob: m4", "m5"]);
  assert.equal(seen(here, {line: null}).includes("unread"), false);
});

test("A deleted message is not new: the line stands before the next one, or nowhere.", () => {
  const here = timeline(message(1), {...message(2), deleted: true}, message(3));
  const kinds = (line) => rows(here, {line}).map(({kind}) => kind);
  assert.deepEqual(kinds(1), ["day", "message", "message", "unread", "message"]);
  here.received({type: "delete", id: 3, seq: 4});
  assert.deepEqual(kinds(1), ["day", "message", "message", "message"]);
});

test("There is no line where nobody can tell that it is the first new message.", () => {
  const here = new Timeline("Ann", keyOf("Ann"));
  here.latest(page(60, 65, true));
  assert.equal(seen(here, {line: 10}).includes("unread"), false);
  here.older(page(8, 59, true));
  assert.equal(rows(here, {line: 10}).findIndex(({kind}) => kind === "unread"), 4);
});

test("Comings and goings between two messages are one line; one who flickers is none.", () => {
  const here = timeline(message(1));
  for (const name of ["Cy", "Di", "Ed"]) here.joined(name);
  here.left("Bob");
  here.left("Di");
  here.joined("Bob");
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "+Cy,Ed -"]);
  here.left("Cy");
  here.left("Ed");
  assert.deepEqual(seen(here), ["day 0", "Bob: m1"]);
  here.received(message(2));
  here.left("Di");
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "m2", "+ -Di"]);
});

test("Events that arrive before the history stand after it.", () => {
  const here = timeline();
  here.startAt(7);
  here.joined("Cy");
  here.latest(page(6, 7));
  here.received(message(8));
  assert.deepEqual(seen(here), ["day 0", "Bob: m6", "m7", "+Cy -", "Bob: m8"]);
});

test("A long session keeps the newest messages; history has the rest.", () => {
  const here = timeline();
  for (let id = 1; id <= KEEP.FOLLOWING + 1; id += 1) {
    here.received(message(id));
    here.trim(true);
  }
  assert.deepEqual([here.messages.length, here.newest], [KEEP.AFTER_TRIM, KEEP.FOLLOWING + 1]);
  assert.equal(here.shown.before, true);
  const {oldest} = here.live;
  here.older({messages: [message(oldest - 1)], more: true});
  assert.equal(here.messages.length, KEEP.AFTER_TRIM + 1);
});

test("A user who reads further up loses nothing of it, however many messages arrive meanwhile.", () => {
  const here = timeline(...range(1, 50));
  for (let id = 51; id <= 10_000; id += 1) {
    here.received(message(id));
    here.trim(false);
  }
  assert.equal(here.messages[0].id, 1);
  assert.ok(here.messages.length <= KEEP.MOST);
  assert.ok(here.live.length <= KEEP.FOLLOWING);
  assert.deepEqual([here.newest, here.shown.after], [10_000, true]);
});

test("A user who scrolls back for ever has a bounded number of messages, and the live end is kept.", () => {
  const here = new Timeline("Ann", keyOf("Ann"));
  here.latest(page(99_951, 100_000, true));
  for (let oldest = 99_951; oldest > 90_000; oldest -= 50) {
    here.older(page(oldest - 50, oldest - 1, true));
    assert.ok(here.messages.length <= KEEP.MOST);
    assert.equal(here.messages[0].id, oldest - 50);
  }
  assert.deepEqual([here.newest, here.live.length], [100_000, KEEP.TAIL]);
  assert.deepEqual([here.shown.before, here.shown.after], [true, true]);
});

// --- Far back ---

/** At the live end 91 to 100, looking at 11 to 30. */
function farBack() {
  const here = new Timeline("Ann", keyOf("Ann"));
  here.latest(page(91, 100, true));
  here.lookAt({messages: range(11, 30), before: true, after: true});
  return here;
}

test("A window shows another stretch; what is said meanwhile waits at the live end.", () => {
  const here = farBack();
  assert.equal(here.received(message(101)), true);
  here.pendingMessages.add({ref: "r", content: "hi", at: 2_000});
  here.joined("Cy");
  assert.deepEqual(ids(here), range(11, 30).map(({id}) => id));
  assert.deepEqual(seen(here).at(-1), "m30");
  here.lookAtLive();
  assert.deepEqual([ids(here)[0], ids(here).at(-1)], [91, 101]);
  assert.deepEqual(seen(here).slice(-3), ["m101", "+Cy -", "(hi)"]);
});

test("A change is of the message wherever it is shown.", () => {
  const here = farBack();
  here.received({type: "edit", id: 12, seq: 101, content: "far"});
  here.received({type: "edit", id: 92, seq: 102, content: "near"});
  assert.deepEqual([here.find(12).content, here.find(92).content], ["far", "near"]);
});

test("A window grows both ways, and where it meets the live end the two are one.", () => {
  const here = farBack();
  here.older(page(1, 10));
  here.newer(page(31, 80, true));
  assert.deepEqual([ids(here).length, here.window !== null], [80, true]);
  here.newer(page(81, 100));
  assert.equal(here.window, null);
  assert.deepEqual(ids(here), range(1, 100).map(({id}) => id));
  assert.deepEqual([here.shown.before, here.shown.after], [false, false]);
});

test("A window that overlaps the live end from the start is none.", () => {
  const here = farBack();
  here.lookAt({messages: range(80, 95), before: true, after: true});
  assert.deepEqual([here.window, ids(here)[0], ids(here).at(-1)], [null, 80, 100]);
});

test("A reset forgets the messages and keeps what is on its way.", () => {
  const here = timeline(message(1));
  here.joined("Cy");
  here.pendingMessages.add({ref: "r", content: "hi", at: 1});
  here.reset();
  assert.deepEqual(seen(here), ["(hi)"]);
  here.received(message(1));
  assert.deepEqual(ids(here), [1]);
});

test("A row is drawn again when its content changes, and only then.", () => {
  const here = timeline(message(2), message(3, "Cy"));
  const versions = (options) => Object.fromEntries(rows(here, options).map(({key, version}) => [key, version]));
  const before = versions();
  here.received(message(4));
  assert.deepEqual({...versions(), "id 4": undefined}, {...before, "id 4": undefined});
  here.received(message(1)); // now 2 continues 1
  assert.notEqual(versions()["id 2"], before["id 2"]);
  assert.equal(versions()["id 3"], before["id 3"]);
  assert.notEqual(versions({marked: 3})["id 3"], before["id 3"]);
  here.optimistic.add(3, {kind: "react", emoji: "👍", on: true});
  assert.notEqual(versions()["id 3"], before["id 3"]);
});

test("An answer stands under its author's name, with what is known of the message above it.", () => {
  const here = timeline(message(1), {...message(2), replyTo: 1}, message(3), {...message(4), replyTo: 2, deleted: true});
  const asked = [];
  const quoteOf = (id) => {
    asked.push(id);
    return {id, version: "wanted"};
  };
  const [, , answer, , tombstone] = rows(here, {quoteOf});
  assert.deepEqual([answer.quote.id, answer.continued], [1, false]);
  assert.deepEqual([tombstone.quote, tombstone.continued], [null, true]);
  assert.deepEqual(asked, [1]);
});

// --- What an earlier page left behind ---

test("A message that an earlier page left behind waits, unless it is here already.", () => {
  const said = {ref: "a", content: "said", at: 100_000};
  const unsaid = {ref: "b", content: "unsaid", at: 100_000};
  const here = timeline(message(1, "Ann", 10_000, "unsaid"), message(2, "Ann", 99_000, "said"));
  for (const entry of [said, unsaid, said]) here.pendingMessages.restore(entry, here.messages);
  assert.deepEqual(here.pending.map(({ref}) => ref), ["b"]);
  here.confirm("a", {id: 2, seq: 2, timestamp: 99_000});
  here.confirm("b", {id: 3, seq: 3, timestamp: 100_500});
  assert.deepEqual(seen(here), ["day 0", "Ann: unsaid", "said", "unsaid"]);
  assert.deepEqual(ids(here), [1, 2, 3]);
});

test("One of two equal messages that were left behind is here already.", () => {
  const here = timeline(message(1, "Ann", 100_000, "ok"));
  for (const ref of ["a", "b"]) here.pendingMessages.restore({ref, content: "ok", at: 100_000}, here.messages);
  assert.deepEqual(here.pending.map(({ref}) => ref), ["b"]);
});

test("A message that was refused before the reload still says so.", () => {
  const here = timeline();
  here.pendingMessages.restore({ref: "a", content: "no", at: 1}, [], "It is too long.");
  assert.deepEqual(seen(here), ["(no: It is too long.)"]);
});

test("The last message of ours that can be edited is not one that was deleted.", () => {
  const here = timeline(message(1, "Ann"), message(2), {...message(3, "Ann"), deleted: true}, message(4));
  assert.equal(here.lastOwn.id, 1);
  here.optimistic.add(1, {kind: "delete"});
  assert.equal(here.lastOwn, undefined);
});

test("Keys are unique.", () => {
  const here = timeline(message(1), message(2, "Ann"), message(3, "Bob", 24 * 60 * MINUTE));
  here.joined("Cy");
  here.pendingMessages.add({ref: "1", content: "hi", at: 1});
  const keys = rows(here, {line: 1}).map(({key}) => key);
  assert.equal(new Set(keys).size, keys.length);
});

test("To lay out messages takes a few steps for each, and none for people who only came.", () => {
  const steps = (messages, arrivals) => {
    const here = timeline();
    for (let id = 1; id <= messages; id += 1) here.received(message(id));
    for (let n = 0; n < arrivals; n += 1) here.joined(`guest ${n}`);
    rows(here);
    return stepsOf(() => rows(here));
  };
  const thousand = steps(1_000, 10_000);
  assert.ok(thousand < 40 * 1_000, `${thousand}`);
  assert.equal(steps(1_000, 100), thousand);
  const growth = steps(4_000, 10_000) / thousand;
  assert.ok(growth < 4.1, `${growth}`);
});
