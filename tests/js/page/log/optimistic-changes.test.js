/** The reader's changes of messages: shown at once, settled by the server, reverted if it refuses. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {ChatError} from "../../../../chat/static/chat/client/protocol.js";
import {
  choices,
  has,
  MessageActions,
  MOST,
  PALETTE,
  toggled,
} from "../../../../chat/static/chat/page/log/optimistic-changes.js";
import {Timeline} from "../../../../chat/static/chat/page/log/timeline.js";
import {reactors, refusedWords, words} from "../../../../chat/static/chat/page/shell/words.js";
import {settle} from "../../support/helpers.js";

const BY_BOB = {type: "message", id: 1, seq: 1, username: "Bob", content: "hello", timestamp: 1};
const BY_ANN = {type: "message", id: 2, seq: 2, username: "Ann", content: "hi", timestamp: 2};
/** A thumb of these, as the client marks it for Ann. */
const thumb = (...names) => {
  const place = names.indexOf("Ann");
  return [{emoji: "👍", count: names.length, own: place >= 0, place, others: names.filter((name) => name !== "Ann")}];
};

/** A page that shows two messages, and a client that answers when the test says so. */
function here() {
  const timeline = new Timeline("Ann");
  timeline.latest({messages: [BY_BOB, BY_ANN], more: false});
  const asked = [];
  const ask = (...command) => new Promise((resolve, reject) => asked.push({command, resolve, reject}));
  const client = {
    edit: (...rest) => ask("edit", ...rest),
    remove: (...rest) => ask("remove", ...rest),
    react: (...rest) => ask("react", ...rest),
  };
  const refused = [];
  const onRefused = (what) => refused.push(what);
  const actions = new MessageActions({client, room: "tea", timeline, onChange() {}, onRefused});
  return {timeline, asked, actions, refused, shown: (id) => timeline.state(timeline.find(id))};
}

test("An edit is seen at once, as one that is on its way.", () => {
  const {asked, actions, shown} = here();
  actions.edit(BY_ANN, "hi all");
  assert.deepEqual(asked[0].command, ["edit", "tea", 2, "hi all"]);
  assert.equal(shown(2).content, "hi all");
  assert.ok(shown(2).edited > 0);
  assert.deepEqual(shown(2).changing.map(({kind}) => kind), ["edit"]);
});

test("An edit without a change is none.", () => {
  const {asked, actions} = here();
  actions.edit(BY_ANN, "hi");
  assert.equal(asked.length, 0);
});

test("An acknowledged change stays until the message has come that far.", async () => {
  const {timeline, asked, actions, shown} = here();
  actions.edit(BY_ANN, "hi all");
  asked[0].resolve({id: 2, seq: 4});
  await settle();
  assert.deepEqual([shown(2).content, shown(2).changing], ["hi all", []]);
  timeline.received({type: "react", id: 2, seq: 3, reactions: thumb("Bob")}); // on its way when ours was kept
  assert.deepEqual([shown(2).content, shown(2).reactions], ["hi all", thumb("Bob")]);
  timeline.received({type: "edit", id: 2, seq: 4, content: "hi all", edited: 9, reactions: thumb("Bob")});
  assert.deepEqual([shown(2).content, shown(2).edited, shown(2).changing], ["hi all", 9, undefined]);
  timeline.received({type: "edit", id: 2, seq: 5, content: "hi you", edited: 10});
  assert.equal(shown(2).content, "hi you");
});

test("A change that comes before its ack is seen once.", async () => {
  const {timeline, asked, actions, shown} = here();
  actions.react(BY_BOB, "👍", true);
  timeline.received({type: "react", id: 1, seq: 3, reactions: thumb("Ann")});
  assert.deepEqual(shown(1).reactions, thumb("Ann"));
  asked[0].resolve({id: 1, seq: 3});
  await settle();
  assert.deepEqual([shown(1).reactions, shown(1).changing], [thumb("Ann"), undefined]);
});

test("A refused change is taken back, with a reason and with what was written.", async () => {
  const {asked, actions, refused, shown} = here();
  actions.edit(BY_ANN, "hi all");
  actions.react(BY_ANN, "👍", true);
  asked[0].reject(new ChatError("forbidden", "No."));
  await settle();
  assert.deepEqual([shown(2).content, shown(2).reactions], ["hi", thumb("Ann")]);
  assert.equal(refused.length, 1);
  assert.deepEqual([refused[0].kind, refused[0].content], ["edit", "hi all"]);
  assert.match(refused[0].reason, /not saved.*not yours/);
});

test("A deletion shows the tombstone; refused, the message is back.", async () => {
  const {asked, actions, shown} = here();
  actions.remove(BY_ANN);
  assert.deepEqual([shown(2).content, shown(2).deleted], ["", true]);
  asked[0].reject(new ChatError("not_found", "No."));
  await settle();
  assert.deepEqual([shown(2).content, shown(2).deleted], ["hi", undefined]);
});

test("The last of several changes of the same thing counts.", async () => {
  const {asked, actions, shown, refused} = here();
  actions.react(BY_BOB, "👍", true);
  actions.react(BY_BOB, "🎉", true);
  actions.react(BY_BOB, "👍", false);
  assert.deepEqual(shown(1).reactions.map(({emoji}) => emoji), ["🎉"]);
  asked[0].reject(new ChatError("too_many_emoji", "No."));
  await settle();
  assert.deepEqual(refused, [], "nobody sees it any more");
  assert.deepEqual(shown(1).reactions.map(({emoji}) => emoji), ["🎉"]);
});

test("After a reset nothing of it is left.", async () => {
  const {timeline, asked, actions, refused} = here();
  actions.edit(BY_ANN, "hi all");
  timeline.reset();
  timeline.latest({messages: [{...BY_ANN, content: "another life"}], more: false});
  asked[0].reject(new ChatError("not_found", "No."));
  await settle();
  assert.deepEqual([timeline.state(timeline.find(2)).content, refused], ["another life", []]);
});

test("An emoji is put on and taken off; the last one to go takes it along.", () => {
  assert.deepEqual(toggled(undefined, "👍", true), thumb("Ann"));
  assert.deepEqual(toggled(thumb("Bob"), "👍", true), thumb("Bob", "Ann"));
  assert.deepEqual(toggled(thumb("Bob", "Ann"), "👍", false), thumb("Bob"));
  assert.deepEqual(toggled(thumb("Ann"), "👍", false), []);
  const same = thumb("Ann");
  assert.equal(toggled(same, "👍", true), same);
  assert.deepEqual([has(same, "👍"), has(thumb("Bob"), "👍"), has(undefined, "👍")], [true, false, false]);
});

test("Only the first of many names are known; the count is true.", () => {
  const many = [{emoji: "👍", count: 70, own: false, place: -1, others: ["Bob", "Cy"]}];
  const more = [{emoji: "👍", count: 71, own: true, place: 2, others: ["Bob", "Cy"]}];
  assert.deepEqual(toggled(many, "👍", true), more);
  assert.equal(reactors(more[0]), "\u2068Bob\u2069, \u2068Cy\u2069, you and 68 others");
  assert.equal(reactors(thumb("Bob")[0]), "\u2068Bob\u2069");
  assert.equal(reactors(thumb("Bob", "Ann")[0]), "\u2068Bob\u2069 and you");
  assert.equal(reactors(thumb("Bob", "Ann", "Cy")[0]), "\u2068Bob\u2069, you and \u2068Cy\u2069");
  const plain = (reaction) => reactors(reaction).replaceAll(/[\u2068\u2069]/g, "");
  assert.equal(plain(thumb(..."abcdefghijkl")[0]), "a, b, c, d, e, f, g, h and 4 others");
  assert.match(plain(thumb(..."abcdefghi")[0]), /h and i$/);
});

test("A name in a tooltip or a label keeps its direction to itself.", () => {
  assert.equal(reactors(thumb("\u05d3\u05df", "Bob")[0]), "\u2068\u05d3\u05df\u2069 and \u2068Bob\u2069");
  assert.match(words.actionsFor("\u05d3\u05df"), /\u2068\u05d3\u05df\u2069$/);
});

test("The palette offers the usual ones and those that are there; a full message only its own.", () => {
  assert.deepEqual(choices(), PALETTE);
  assert.deepEqual(choices([{emoji: "🦄"}, {emoji: "👍"}]), [...PALETTE, "🦄"]);
  const full = Array.from({length: MOST}, (_, n) => ({emoji: String.fromCodePoint(0x1f600 + n)}));
  assert.deepEqual(choices(full), full.map(({emoji}) => emoji));
});

test("Each refusal says what did not happen, and why.", () => {
  assert.equal(
    refusedWords("react", {code: "too_many_emoji", message: "x"}),
    "Your reaction was not kept. There are too many different emoji on it.",
  );
  assert.equal(
    refusedWords("edit", {code: "bad_field", field: "content", message: "content: must not be blank"}),
    "Your change was not saved. The message must not be blank.",
  );
});
