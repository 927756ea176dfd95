/** What is shown in a room: each message once, in the log's order, whatever the order it came in. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {rowsOf} from "../../chat/static/chat/rows.js";
import {KEEP, Timeline} from "../../chat/static/chat/timeline.js";

const MINUTE = 60_000;
const dayOf = (timestamp) => String(Math.floor(timestamp / (24 * 60 * MINUTE)));

function message(id, username = "Bob", timestamp = id * 1_000, content = `m${id}`) {
  return {type: "message", room: "lobby", id, seq: id, username, content, timestamp};
}

function timeline(...messages) {
  const here = new Timeline("Ann");
  here.add(messages);
  return here;
}

/** The rows in short: what a reader would say stands there. */
function seen(here) {
  return rowsOf(here, dayOf).map((row) => {
    if (row.kind === "message") return `${row.continued ? "" : `${row.message.username}: `}${row.message.content}`;
    if (row.kind === "pending") return `(${row.entry.content}${row.entry.failed ? `: ${row.entry.failed}` : ""})`;
    if (row.kind === "notice") return `+${row.joined} -${row.left}`;
    return row.kind === "day" ? `day ${row.key.slice(4)}` : row.kind;
  });
}

const ids = (here) => here.messages.map(({id}) => id);

test("Messages stand in the log's order and once.", () => {
  const here = timeline(message(3), message(1));
  assert.deepEqual(here.add([message(2), message(3), message(4)]).map(({id}) => id), [2, 4]);
  assert.deepEqual(ids(here), [1, 2, 3, 4]);
});

test("History and live messages that overlap are one list.", () => {
  const here = timeline(message(5), message(6));
  here.addHistory({messages: [message(3), message(4), message(5)], more: true});
  assert.deepEqual(ids(here), [3, 4, 5, 6]);
  assert.equal(here.more, true);
});

test("A later change of a message wins over an earlier one that comes late.", () => {
  const here = timeline({...message(1), seq: 9, content: "edited"});
  here.add([message(1)]);
  assert.equal(here.messages[0].content, "edited");
});

test("A message of ours is pending, then acknowledged, then heard: one row all the way.", () => {
  const here = timeline(message(1));
  here.addPending({ref: "r", content: "hi", at: 2_000});
  const key = rowsOf(here, dayOf).at(-1).key;
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "(hi)"]);
  here.confirm("r", {id: 2, seq: 2, timestamp: 2_000});
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "Ann: hi"]);
  here.add([message(2, "Ann", 2_000, "hi")]);
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "Ann: hi"]);
  assert.equal(rowsOf(here, dayOf).at(-1).key, key);
});

test("A message that is heard before its ack is not shown twice, not even in between.", () => {
  const here = timeline(message(1));
  here.addPending({ref: "r", content: "hi", at: 2_000});
  here.add([message(2, "Ann", 2_000, "hi")]);
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "Ann: hi"]);
  here.confirm("r", {id: 2, seq: 2, timestamp: 2_000});
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "Ann: hi"]);
});

test("The same words from another tab of ours are set right by the ack.", () => {
  const here = timeline();
  here.addPending({ref: "r", content: "ok", at: 2_000});
  here.add([message(1, "Ann", 1_000, "ok")]);
  here.confirm("r", {id: 2, seq: 2, timestamp: 2_000});
  assert.deepEqual(ids(here), [1, 2]);
  const refused = timeline();
  refused.addPending({ref: "r", content: "ok", at: 2_000});
  refused.add([message(1, "Ann", 1_000, "ok")]);
  refused.fail("r", "No.");
  assert.deepEqual(seen(refused), ["day 0", "Ann: ok", "(ok: No.)"]);
});

test("The same words in old history are not taken for what is on its way.", () => {
  const here = timeline(message(10));
  here.addPending({ref: "r", content: "ok", at: 20_000});
  here.addHistory({messages: [message(2, "Ann", 2_000, "ok")], more: false});
  assert.deepEqual(seen(here).at(-1), "(ok)");
});

test("An ack for a message that others have answered already goes to its place.", () => {
  const here = timeline(message(1));
  here.addPending({ref: "r", content: "hi", at: 2_000});
  here.add([message(3)]);
  here.confirm("r", {id: 2, seq: 2, timestamp: 2_000});
  assert.deepEqual(ids(here), [1, 2, 3]);
});

test("A failed message is tried again at the end, or discarded.", () => {
  const here = timeline();
  here.addPending({ref: "a", content: "one", at: 1});
  here.addPending({ref: "b", content: "two", at: 2});
  here.fail("a", "No.");
  assert.deepEqual(seen(here), ["(one: No.)", "(two)"]);
  assert.equal(here.retry("a").content, "one");
  assert.deepEqual(seen(here), ["(two)", "(one)"]);
  here.discard("b");
  assert.deepEqual(seen(here), ["(one)"]);
  assert.equal(here.retry("gone"), undefined);
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

test("Each day has its line, and starts the grouping anew.", () => {
  const day = 24 * 60 * MINUTE;
  const here = timeline(message(1, "Bob", day - 1), message(2, "Bob", day), message(3, "Bob", 3 * day));
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "day 1", "Bob: m2", "day 3", "Bob: m3"]);
});

test("The unread marker stands before the first message of others since the reader looked away.", () => {
  const here = timeline(message(1), message(2));
  here.readUpTo = here.newest;
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "m2"]);
  here.add([message(3, "Ann"), message(4), message(5)]);
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "m2", "Ann: m3", "unread", "Bob: m4", "m5"]);
  here.readUpTo = null;
  assert.equal(seen(here).includes("unread"), false);
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
  here.add([message(2)]);
  here.left("Di");
  assert.deepEqual(seen(here), ["day 0", "Bob: m1", "m2", "+ -Di"]);
});

test("Who came before the history was here stands after it.", () => {
  const here = timeline();
  here.startAt(7);
  here.joined("Cy");
  here.addHistory({messages: [message(6), message(7)], more: false});
  here.add([message(8)]);
  assert.deepEqual(seen(here), ["day 0", "Bob: m6", "m7", "+Cy -", "Bob: m8"]);
});

test("A long session keeps the newest messages; history has the rest.", () => {
  const here = timeline();
  for (let id = 1; id <= KEEP.FOLLOWING + 1; id += 1) {
    here.add([message(id)]);
    here.trim(true);
  }
  assert.equal(here.messages.length, KEEP.AFTER_TRIM);
  assert.equal(here.newest, KEEP.FOLLOWING + 1);
  assert.equal(here.more, true);
  here.addHistory({messages: [message(here.oldest - 1)], more: true});
  assert.equal(here.messages.length, KEEP.AFTER_TRIM + 1);
});

test("One who reads further up loses nothing, up to a bound.", () => {
  const here = timeline();
  for (let id = 1; id <= KEEP.FOLLOWING * 2; id += 1) here.add([message(id)]);
  here.trim(false);
  assert.equal(here.messages.length, KEEP.FOLLOWING * 2);
  here.more = true;
  assert.equal(here.extensible, true);
  for (let id = here.newest + 1; id <= 10_000; id += 1) {
    here.add([message(id)]);
    here.trim(false);
  }
  assert.ok(here.messages.length <= KEEP.MOST + KEEP.FOLLOWING);
  assert.equal(here.extensible, false);
});

test("A reset forgets the messages and keeps what is on its way.", () => {
  const here = timeline(message(1));
  here.joined("Cy");
  here.addPending({ref: "r", content: "hi", at: 1});
  here.reset();
  assert.deepEqual(seen(here), ["(hi)"]);
  here.add([message(1)]);
  assert.deepEqual(ids(here), [1]);
});

test("A row is drawn anew when what it shows changes, and only then.", () => {
  const here = timeline(message(2), message(3));
  const versions = () => Object.fromEntries(rowsOf(here, dayOf).map(({key, version}) => [key, version]));
  const before = versions();
  here.add([message(4)]);
  assert.deepEqual({...versions(), "id 4": undefined}, {...before, "id 4": undefined});
  here.add([message(1)]); // now 2 continues 1
  assert.notEqual(versions()["id 2"], before["id 2"]);
  assert.equal(versions()["id 3"], before["id 3"]);
});

test("Keys are unique.", () => {
  const here = timeline(message(1), message(2, "Ann"), message(3, "Bob", 24 * 60 * MINUTE));
  here.joined("Cy");
  here.addPending({ref: "1", content: "hi", at: 1});
  here.readUpTo = 1;
  const keys = rowsOf(here, dayOf).map(({key}) => key);
  assert.equal(new Set(keys).size, keys.length);
});

test("A thousand messages and ten thousand arrivals are laid out in a few milliseconds.", () => {
  const here = timeline();
  for (let id = 1; id <= 1_000; id += 1) here.add([message(id)]);
  for (let n = 0; n < 10_000; n += 1) here.joined(`guest ${n}`);
  rowsOf(here, dayOf);
  const started = performance.now();
  for (let n = 0; n < 20; n += 1) rowsOf(here, dayOf);
  assert.ok((performance.now() - started) / 20 < 16);
});
