/** Searching the room: the answers of the last question, and the words that were found in a text. */

import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {test} from "node:test";

import {ChatError} from "../../chat/static/chat/errors.js";
import {asked} from "../../chat/static/chat/folding.js";
import {excerpt, marked} from "../../chat/static/chat/found-words.js";
import {Searching} from "../../chat/static/chat/searching.js";
import {settle} from "./helpers.js";
import {growthOf} from "./work.js";

const message = (id, content = "tea") => ({type: "message", id, seq: id, username: "Bob", content, timestamp: id});

function here() {
  const asked = [];
  const client = {
    search: (room, query, options) =>
      new Promise((resolve, reject) => asked.push({query, ...options, resolve, reject})),
  };
  return {asked, searching: new Searching({client, room: "tea", onChange() {}})};
}

const ids = (searching) => searching.results.map(({id}) => id);

test("What is found comes newest first, more of it on demand.", async () => {
  const {asked, searching} = here();
  searching.ask("  tea ");
  assert.deepEqual([asked[0].query, asked[0].before, searching.loading], ["tea", undefined, true]);
  asked[0].resolve({messages: [message(9), message(7)], more: true});
  await settle();
  assert.deepEqual([ids(searching), searching.more, searching.answered], [[9, 7], true, true]);
  searching.next();
  searching.next();
  assert.deepEqual(asked.slice(1).map(({before}) => before), [7]);
  asked[1].resolve({messages: [message(3)], more: false});
  await settle();
  assert.deepEqual([ids(searching), searching.more], [[9, 7, 3], false]);
  searching.next();
  assert.equal(asked.length, 2);
});

test("That the server still indexes older messages is told as long as its answers say so.", async () => {
  const {asked, searching} = here();
  searching.ask("tea");
  asked[0].resolve({messages: [], more: false, indexing: true});
  await settle();
  assert.deepEqual([searching.indexing, searching.answered], [true, true]);
  searching.ask("teapot");
  asked[1].resolve({messages: [message(9)], more: false});
  await settle();
  assert.equal(searching.indexing, false);
});

test("The same words are asked for once; an answer to an earlier question is not wanted any more.", async () => {
  const {asked, searching} = here();
  searching.ask("tea");
  searching.ask("tea ");
  assert.equal(asked.length, 1);
  searching.ask("coffee");
  asked[0].resolve({messages: [message(9)], more: true});
  await settle();
  assert.deepEqual([ids(searching), searching.loading], [[], true]);
  asked[1].resolve({messages: [], more: false});
  await settle();
  assert.deepEqual([ids(searching), searching.answered], [[], true]);
  searching.ask("");
  assert.deepEqual([asked.length, searching.answered], [2, false]);
});

test("What was found stays until the next answer is here, and is gone with no words or no answer.", async () => {
  const {asked, searching} = here();
  searching.ask("tea");
  asked[0].resolve({messages: [message(9)], more: true});
  await settle();
  searching.ask("teat");
  assert.deepEqual([ids(searching), searching.more], [[9], false]);
  asked[1].resolve({messages: [message(5)], more: false});
  await settle();
  assert.deepEqual(ids(searching), [5]);
  searching.ask("teatime");
  asked[2].reject(new ChatError("timeout", "slow"));
  await settle();
  assert.deepEqual(ids(searching), []);
  searching.ask("tea");
  asked[3].resolve({messages: [message(9)], more: true});
  await settle();
  searching.ask("");
  assert.deepEqual([ids(searching), searching.more], [[], false]);
});

test("A question without an answer is told, and asked again when the room is entered.", async () => {
  const {asked, searching} = here();
  searching.again();
  searching.ask("tea");
  asked[0].reject(new ChatError("disconnected", "gone"));
  await settle();
  assert.deepEqual([searching.error.code, searching.answered], ["disconnected", false]);
  searching.again();
  asked[1].resolve({messages: [message(9)], more: false});
  await settle();
  assert.deepEqual([searching.error, ids(searching)], [null, [9]]);
});

test("What was found follows the changes; what is deleted goes.", async () => {
  const {asked, searching} = here();
  searching.ask("tea");
  asked[0].resolve({messages: [message(9), message(7)], more: true});
  await settle();
  searching.heard({type: "edit", id: 9, seq: 10, content: "green tea"});
  searching.heard({type: "delete", id: 7, seq: 11});
  searching.heard({type: "delete", id: 1, seq: 12});
  assert.deepEqual(searching.results.map(({content}) => content), ["green tea"]);
  searching.next();
  assert.equal(asked[1].before, 7, "the next page begins where the last one ended");
});

test("After a reset the same is asked of the other life.", async () => {
  const {asked, searching} = here();
  searching.reset();
  assert.equal(asked.length, 0);
  searching.ask("tea");
  asked[0].resolve({messages: [message(9)], more: true});
  await settle();
  searching.reset();
  assert.deepEqual([ids(searching), asked.length], [[], 2]);
});

// --- The words in the text ---

const short = (parts) => parts.map(({text, found}) => (found ? `[${text}]` : text)).join("");

for (const [text, query, expected] of [
  ["Tea or coffee?", "tea", "[Tea] or coffee?"],
  ["tea, teatime, steam", "tea", "[tea], [tea]time, steam"],
  ["one two three", "three one", "[one] two [three]"],
  ["the cat and they", "the cat", "[the] [cat] and they"], // only the last may be unfinished
  ["at the attic", "at", "[at] the attic"], // and not when it is that short
  ["Ein Café in Zürich", "cafe zurich", "Ein [Café] in [Zürich]"],
  ["CAFE\u0301!", "café", "[CAFE\u0301]!"],
  ["ﬁne weather", "fine", "[ﬁne] weather"],
  ["teatime", "tea teatime", "[teatime]"],
  ["明日の天気は晴れ", "天気", "明日の[天気]は晴れ"],
  ["مرحبا بالعالم", "مرحبا", "[مرحبا] بالعالم"],
  ["what's up", "what's", "[what]'[s] up"],
  ["<mark>tea</mark>", "tea", "<mark>[tea]</mark>"],
  ["nothing here", "tea", "nothing here"],
  ["nothing here", "...", "nothing here"],
  ["😀 tea 😀", "tea", "😀 [tea] 😀"],
]) {
  test(`${JSON.stringify(query)} in ${JSON.stringify(text)}`, () => {
    const parts = marked(text, query);
    assert.equal(short(parts), expected);
    assert.equal(parts.map((part) => part.text).join(""), text);
  });
}

const cases = JSON.parse(readFileSync(new URL("../words.json", import.meta.url)));

for (const [text, query, expected] of cases.found) {
  test(`${JSON.stringify(query)} is marked in ${JSON.stringify(text)} as the server finds it`, () => {
    const parts = marked(text, query);
    assert.equal(short(parts), expected);
    assert.equal(parts.map((part) => part.text).join(""), text);
  });
}

test("What the server does not search for, or finds elsewhere only, is not marked.", () => {
  for (const query of cases.not_asked) {
    assert.deepEqual(asked(query), {words: new Set(), beginning: null, runs: []}, JSON.stringify(query));
  }
  for (const [text, query] of cases.not_found) {
    assert.equal(marked(text, query).every(({text: part, found}) => !found || part.length < text.length), true);
  }
});

test("An excerpt of a long text shows the first word that was found.", () => {
  const text = `${"before ".repeat(100)}tea ${"after ".repeat(100)}`;
  const parts = excerpt(text, "tea");
  assert.match(short(parts), /^…before .*\[tea\] after .*…$/);
  assert.ok(parts.map((part) => part.text).join("").length < 200);
});

test("An excerpt is one line, and cuts no character in two.", () => {
  assert.equal(short(excerpt("one\n\n  two", "two")), "one [two]");
  for (let shift = 0; shift < 4; shift += 1) {
    const shown = short(excerpt(`${"x".repeat(shift)}${"😀".repeat(400)} tea ${"😀".repeat(400)}`, "tea"));
    assert.doesNotMatch(shown, /\p{Surrogate}/u);
    assert.match(shown, /\[tea\]/);
  }
});

test("A huge text takes work in proportion to its size.", () => {
  for (const [text, query] of [["a ", "a"], ["a", "a"], ["ab", "ab a b"], ["漢", "漢漢"], ["e\u0301 ", "é"]]) {
    const growth = growthOf((n) => marked(text.repeat(n), query), 5_000);
    assert.ok(growth < 4.5, `${text}: ${growth}`);
  }
});
