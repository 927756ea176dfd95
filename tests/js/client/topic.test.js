/** Topics: subscribed to again where they were left, merged as the protocol says, published once. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {merged} from "../../../chat/static/chat/client/topic-state.js";
import {comeBack, settle, world} from "../support/helpers.js";

const NAME = "board:cpu";

/** A client with one topic, subscribed. */
function subscribed({seq = 0, keep = "latest", ...more} = {}) {
  const here = world();
  const topic = here.client.topic(NAME);
  here.client.connect();
  here.socket.accept();
  answer(here, {seq, keep, ...more});
  return {here, topic};
}

function answer(here, fields = {}) {
  const {ref} = here.socket.last("subscribe");
  here.socket.say({type: "subscribed", topic: NAME, seq: 0, epoch: "e1", resumed: false, keep: "latest", timestamp: 1, ref, ...fields});
}

const put = (here, seq, key, data, more = {}) =>
  here.socket.say({type: "publication", topic: NAME, id: seq, seq, event: "reading", key, data, timestamp: 1, ...more});

test("A topic needs no room, and its changes are merged by key.", () => {
  const {here, topic} = subscribed();
  const told = [];
  topic.on("reading", ({key, data}) => told.push([key, data.value]));
  put(here, 1, "a", {value: 1});
  put(here, 2, "b", {value: 2});
  put(here, 2, "b", {value: 9});
  here.socket.say({type: "publications", topic: NAME, seq: 5, follows: 2, entries: [["reading", "a", {value: 2}, "a", {value: 3}], [null, "b"], ["note", null, {x: 1}, 4, 9]]});
  assert.deepEqual([...topic.state], [["a", {value: 3}]]);
  assert.deepEqual(topic.entries, [{id: 4, event: "note", data: {x: 1}, timestamp: 9}]);
  assert.deepEqual(told, [["a", 1], ["b", 2], ["a", 2], ["a", 3]]);
});

test("After a loss it goes on from its position; a gap is asked for.", () => {
  const {here, topic} = subscribed();
  put(here, 1, "a", {value: 1});
  here.socket.cut();
  comeBack(here);
  assert.deepEqual([here.socket.last("subscribe").since, here.socket.last("subscribe").epoch], [1, "e1"]);
  answer(here, {seq: 1, resumed: true});
  put(here, 3, "a", {value: 3});
  assert.deepEqual(topic.state.get("a"), {value: 1});
  assert.equal(here.socket.of("subscribe").length, 2);
  answer(here, {seq: 1, resumed: true});
  put(here, 3, "a", {value: 3}, {follows: 1});
  assert.deepEqual(topic.state.get("a"), {value: 3});
});

test("A reset forgets what was there, and says so.", () => {
  const {here, topic} = subscribed();
  let resets = 0;
  topic.on("reset", () => (resets += 1));
  put(here, 1, "a", {value: 1});
  here.socket.cut();
  comeBack(here);
  answer(here, {seq: 0, epoch: "e2"});
  put(here, 7, "b", {value: 2}, {follows: 0});
  assert.deepEqual([...topic.state.keys()], ["b"]);
  assert.equal(resets, 1);
});

test("A patch changes the value that is there (RFC 7396).", () => {
  const {here, topic} = subscribed();
  put(here, 1, "a", {value: 1, deep: {x: 1, y: 2}});
  put(here, 2, "a", undefined, {patch: {value: 2, deep: {x: null}}});
  assert.deepEqual(topic.state.get("a"), {value: 2, deep: {y: 2}});
});

test("The cases of RFC 7396, appendix A.", () => {
  const cases = [
    [{a: "b"}, {a: "c"}, {a: "c"}], [{a: "b"}, {b: "c"}, {a: "b", b: "c"}], [{a: "b"}, {a: null}, {}],
    [{a: "b", b: "c"}, {a: null}, {b: "c"}], [{a: ["b"]}, {a: "c"}, {a: "c"}], [{a: "c"}, {a: ["b"]}, {a: ["b"]}],
    [{a: {b: "c"}}, {a: {b: "d", c: null}}, {a: {b: "d"}}], [{a: [{b: "c"}]}, {a: [1]}, {a: [1]}],
    [["a", "b"], ["c", "d"], ["c", "d"]], [{a: "b"}, ["c"], ["c"]], [{a: "foo"}, null, null], [{a: "foo"}, "bar", "bar"],
    [{e: null}, {a: 1}, {e: null, a: 1}], [[1, 2], {a: "b", c: null}, {a: "b"}], [{}, {a: {bb: {ccc: null}}}, {a: {bb: {}}}],
  ];
  for (const [value, patch, result] of cases) assert.deepEqual(merged(value, patch), result);
  assert.equal({}.polluted, undefined);
  assert.deepEqual(Object.keys(merged({}, JSON.parse('{"__proto__": {"polluted": 1}}'))), ["__proto__"]);
  assert.equal({}.polluted, undefined);
});

test("A publication is sent again with its ref until it is acknowledged, in order.", async () => {
  const {here, topic} = subscribed({may: ["publish"]});
  const first = topic.publish("reading", {value: 1}, {key: "a"});
  const second = topic.publish(null, null, {key: "b", gone: true});
  const {ref} = here.socket.last("publish");
  assert.equal(here.socket.of("publish").length, 1);
  here.socket.cut();
  comeBack(here);
  answer(here, {resumed: true});
  assert.equal(here.socket.last("publish").ref, ref);
  here.socket.say({type: "ack", topic: NAME, id: 1, seq: 1, timestamp: 1, ref});
  assert.deepEqual(await first, {id: 1, seq: 1});
  const last = here.socket.last("publish");
  assert.deepEqual([last.key, last.gone, last.event], ["b", true, undefined]);
  here.socket.say({type: "error", code: "busy", message: "later", retryAfter: 500, ref: last.ref, timestamp: 1});
  here.clock.pass(5_000);
  assert.ok(here.socket.of("publish").length >= 2);
  here.socket.say({type: "error", code: "forbidden", message: "no", ref: last.ref, timestamp: 1});
  await assert.rejects(second, {code: "forbidden"});
});

test("A refused or ended subscription says why, and is not asked for again.", async () => {
  const {here, topic} = subscribed();
  put(here, 1, "a", {value: 1});
  const waiting = topic.publish("reading", {value: 1});
  const told = [];
  topic.on("removed", ({error}) => told.push(error.code));
  here.socket.say({type: "removed", topic: NAME, code: "no_topic", message: "gone", timestamp: 1});
  assert.deepEqual([told, topic.state.size, topic.error.code], [["no_topic"], 0, "no_topic"]);
  await assert.rejects(waiting, {code: "no_topic"});
  here.socket.cut();
  comeBack(here);
  assert.equal(here.socket.of("subscribe").length, 0);
});

test("People come, change and go; the own state is shown again after a reconnect.", () => {
  const {here, topic} = subscribed();
  topic.present({cursor: 1});
  here.socket.say({type: "present", topic: NAME, came: [{by: "k1", username: "Ann"}], whole: true});
  here.socket.say({type: "present", topic: NAME, came: [{by: "k2", username: "Ben", state: {cursor: 3}}], went: ["k1"]});
  assert.deepEqual([...topic.people.values()], [{by: "k2", username: "Ben", state: {cursor: 3}}]);
  here.socket.cut();
  assert.equal(topic.people.size, 0);
  comeBack(here);
  answer(here);
  assert.deepEqual(here.socket.last("present").state, {cursor: 1});
});

test("A publication is not sent over another user's connection.", async () => {
  const {here, topic} = subscribed({you: "key of Ann"});
  const waiting = topic.publish("reading", {value: 1});
  here.socket.cut();
  comeBack(here);
  answer(here, {resumed: true, you: "key of Bob"});
  await assert.rejects(waiting, {code: "other_person"});
  assert.equal(here.socket.of("publish").length, 0);
});

test("A publication waits for the end of a gap, and a server that knows no subscription is asked for one.", async () => {
  const {here, topic} = subscribed();
  put(here, 9, "a", {value: 1});
  const promise = topic.publish("reading", {value: 1});
  assert.equal(here.socket.of("publish").length, 0);
  answer(here);
  const {ref} = here.socket.last("publish");
  here.socket.refuse({ref}, "not_subscribed");
  const asked = here.socket.of("subscribe").length;
  here.clock.pass(2_000);
  assert.equal(here.socket.of("subscribe").length, asked + 1);
  answer(here, {resumed: true});
  assert.equal(here.socket.last("publish").ref, ref);
  here.socket.say({type: "ack", topic: NAME, id: 3, seq: 3, timestamp: 1, ref});
  assert.deepEqual(await promise, {id: 3, seq: 3});
});

test("Waiting publications are bounded, and rejected when the topic or the client is closed.", async () => {
  for (const [end, code] of [[({topic}) => topic.close(), "left"], [({here}) => here.client.close(), "closed"]]) {
    const place = subscribed();
    const waiting = Array.from({length: 100}, () => place.topic.publish("reading", {value: 1}));
    await assert.rejects(place.topic.publish("reading", {value: 1}), {code: "outbox_full"});
    end(place);
    const results = await Promise.allSettled(waiting);
    assert.deepEqual(new Set(results.map(({reason}) => reason.code)), new Set([code]));
    await assert.rejects(place.topic.publish("reading", {value: 1}), {code});
    await assert.rejects(place.topic.history(), {code});
  }
});

test("A topic that was refused can be had again, and its former holder ends nothing.", () => {
  const {here, topic} = subscribed();
  here.socket.say({type: "removed", topic: NAME, code: "no_topic", message: "gone", timestamp: 1});
  const again = here.client.topic(NAME);
  assert.notEqual(again, topic);
  answer(here);
  topic.close();
  topic.close();
  assert.equal(here.socket.of("unsubscribe").length, 0);
  assert.equal(here.client.topic(NAME), again);
});

test("A page's position is asked for first; a stream is rewound where that is void.", () => {
  const here = world();
  const topic = here.client.topic(NAME, {since: 7, epoch: "e1", rewind: 5});
  let resets = 0;
  topic.on("reset", () => (resets += 1));
  here.client.connect();
  here.socket.accept();
  const {since, epoch, rewind} = here.socket.last("subscribe");
  assert.deepEqual([since, epoch, rewind], [7, "e1", 5]);
  answer(here, {seq: 2, epoch: "e2", keep: "log"});
  assert.equal(resets, 1);
  here.socket.say({type: "publication", topic: NAME, id: 3, seq: 3, event: "note", data: {}, timestamp: 1});
  assert.equal(topic.entries.length, 1);
});

test("A stream keeps the latest 1,000 entries.", () => {
  const {here, topic} = subscribed({keep: "log"});
  for (let seq = 1; seq <= 1_001; seq += 1) {
    here.socket.say({type: "publication", topic: NAME, id: seq, seq, event: "note", data: {}, timestamp: 1});
  }
  assert.deepEqual([topic.entries.length, topic.entries[0].id], [1_000, 2]);
});

test("Two callers share a subscription; the last one ends it.", () => {
  const {here, topic} = subscribed();
  const other = here.client.topic(NAME, {rewind: 3});
  assert.equal(other, topic);
  assert.equal(here.socket.of("subscribe").length, 1);
  other.close();
  assert.equal(here.socket.of("unsubscribe").length, 0);
  topic.close();
  assert.equal(here.socket.of("unsubscribe").length, 1);
  assert.notEqual(here.client.topic(NAME), topic);
});

test("A snapshot is the same object until something changes, and never changes itself.", () => {
  const {here, topic} = subscribed();
  const seen = [];
  const end = topic.subscribe(() => seen.push(topic.getSnapshot()));
  here.clock.pass(100);
  const before = topic.getSnapshot();
  assert.equal(topic.getSnapshot(), before);
  assert.ok(Object.isFrozen(before) && before.live);
  put(here, 1, "a", {value: 1});
  assert.equal(seen.length, 1);
  assert.notEqual(seen[0], before);
  assert.equal(before.state.size, 0);
  end();
  here.clock.pass(100);
  put(here, 2, "a", {value: 2});
  assert.equal(seen.length, 1);
});

test("A burst of changes is one notification, and a snapshot between is up to date.", () => {
  const {here, topic} = subscribed();
  let calls = 0;
  topic.subscribe(() => (calls += 1));
  here.clock.pass(100);
  for (let seq = 1; seq <= 1_000; seq += 1) put(here, seq, `key${seq}`, {value: seq});
  assert.equal(calls, 1);
  assert.equal(topic.getSnapshot().state.size, 1_000);
  here.clock.pass(100);
  assert.equal(calls, 2);
  here.clock.pass(100);
  assert.equal(calls, 2);
});

test("A snapshot says whether the topic is live, and why it ended.", () => {
  const {here, topic} = subscribed();
  assert.equal(topic.getSnapshot().live, true);
  put(here, 9, "a", {value: 1});
  assert.equal(topic.getSnapshot().live, false);
  answer(here);
  assert.equal(topic.getSnapshot().live, true);
  here.socket.cut();
  assert.deepEqual([topic.getSnapshot().live, topic.getSnapshot().error], [false, null]);
  comeBack(here);
  here.socket.refuse(here.socket.last("subscribe"), "no_topic");
  assert.equal(topic.getSnapshot().error.code, "no_topic");
});

test("A listener that throws keeps no change from the others, and none from the copy.", async (t) => {
  const {here, topic} = subscribed();
  const thrown = [];
  const listener = (error) => thrown.push(error.message);
  const others = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", listener);
  t.after(() => {
    process.off("uncaughtException", listener);
    for (const other of others) process.on("uncaughtException", other);
  });
  topic.on("reading", ({key}) => {
    throw new Error(key);
  });
  here.socket.say({type: "publications", topic: NAME, seq: 2, follows: 0, entries: [["reading", "a", {}], ["reading", "b", {}]]});
  await settle();
  assert.deepEqual([[...topic.state.keys()], thrown], [["a", "b"], ["a", "b"]]);
});

test("History is asked for and answered.", async () => {
  const {here, topic} = subscribed();
  const page = topic.history({before: 9, limit: 2});
  const {ref} = here.socket.last("entries");
  here.socket.say({type: "entries", topic: NAME, entries: [{id: 7}], more: true, timestamp: 1, ref});
  assert.deepEqual((await page).entries, [{id: 7}]);
});

test("Signals are told, and are not numbered.", () => {
  const {here, topic} = subscribed();
  const told = [];
  topic.on("signal:typing", ({data}) => told.push(data));
  here.socket.say({type: "signal", topic: NAME, event: "typing", data: {on: true}, timestamp: 1});
  topic.signal("typing", {on: false});
  assert.deepEqual(told, [{on: true}]);
  assert.equal(here.socket.last("signal").event, "typing");
});
