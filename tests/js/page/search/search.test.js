/** Searching the room: the answers of the last question, and the words that were found in a text. */

import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {test} from "node:test";

import {Messages} from "../../../../chat/static/chat/client/messages.js";
import {ChatError} from "../../../../chat/static/chat/client/protocol.js";
import {asked, excerpt, marked} from "../../../../chat/static/chat/page/search/highlight.js";
import {Search} from "../../../../chat/static/chat/page/search/search.js";
import {settle} from "../../support/helpers.js";
import {growthOf} from "../../support/work.js";

const message = (id, content = "tea") => ({type: "message", id, seq: id, username: "Bob", content, timestamp: id});

function here() {
  const asked = [];
  const messages = new Messages();
  const client = {
    search: (room, query, options) =>
      new Promise((resolve, reject) => asked.push({query, ...options, resolve, reject})),
  };
  return {asked, search: new Search({client, room: "tea", messages, onChange() {}}), messages};
}

const ids = (search) => search.results.map(({id}) => id);

test("Results come newest first, more of them on demand.", async () => {
  const {asked, search} = here();
  search.ask("  tea ");
  assert.deepEqual([asked[0].query, asked[0].before, search.loading], ["tea", undefined, true]);
  asked[0].resolve({messages: [message(9), message(7)], more: true});
  await settle();
  assert.deepEqual([ids(search), search.more, search.answered], [[9, 7], true, true]);
  search.next();
  search.next();
  assert.deepEqual(asked.slice(1).map(({before}) => before), [7]);
  asked[1].resolve({messages: [message(3)], more: false});
  await settle();
  assert.deepEqual([ids(search), search.more], [[9, 7, 3], false]);
  search.next();
  assert.equal(asked.length, 2);
});

test("The page shows that older messages are still being indexed as long as replies say so.", async () => {
  const {asked, search} = here();
  search.ask("tea");
  asked[0].resolve({messages: [], more: false, indexing: true});
  await settle();
  assert.deepEqual([search.indexing, search.answered], [true, true]);
  search.ask("teapot");
  asked[1].resolve({messages: [message(9)], more: false});
  await settle();
  assert.equal(search.indexing, false);
});

test("The same words are asked for once; an answer to an earlier question is not wanted any more.", async () => {
  const {asked, search} = here();
  search.ask("tea");
  search.ask("tea ");
  assert.equal(asked.length, 1);
  search.ask("coffee");
  asked[0].resolve({messages: [message(9)], more: true});
  await settle();
  assert.deepEqual([ids(search), search.loading], [[], true]);
  asked[1].resolve({messages: [], more: false});
  await settle();
  assert.deepEqual([ids(search), search.answered], [[], true]);
  search.ask("");
  assert.deepEqual([asked.length, search.answered], [2, false]);
});

test("Results stay until the next reply, and are removed without words or without a reply.", async () => {
  const {asked, search} = here();
  search.ask("tea");
  asked[0].resolve({messages: [message(9)], more: true});
  await settle();
  search.ask("teat");
  assert.deepEqual([ids(search), search.more], [[9], false]);
  asked[1].resolve({messages: [message(5)], more: false});
  await settle();
  assert.deepEqual(ids(search), [5]);
  search.ask("teatime");
  asked[2].reject(new ChatError("timeout", "slow"));
  await settle();
  assert.deepEqual(ids(search), []);
  search.ask("tea");
  asked[3].resolve({messages: [message(9)], more: true});
  await settle();
  search.ask("");
  assert.deepEqual([ids(search), search.more], [[], false]);
});

test("A question without an answer is told, and asked again when the room is entered.", async () => {
  const {asked, search} = here();
  search.again();
  search.ask("tea");
  asked[0].reject(new ChatError("disconnected", "gone"));
  await settle();
  assert.deepEqual([search.error.code, search.answered], ["disconnected", false]);
  search.again();
  asked[1].resolve({messages: [message(9)], more: false});
  await settle();
  assert.deepEqual([search.error, ids(search)], [null, [9]]);
});

test("Results follow the changes; deleted messages go.", async () => {
  const {asked, search, messages} = here();
  search.ask("tea");
  asked[0].resolve({messages: [message(9), message(7)], more: true});
  await settle();
  const edited = {type: "edit", id: 9, seq: 10, content: "green tea"};
  for (const frame of [edited, {type: "delete", id: 7, seq: 11}, {type: "delete", id: 1, seq: 12}]) {
    messages.change(frame);
    search.received(frame);
  }
  assert.deepEqual(search.results.map(({content}) => content), ["green tea"]);
  assert.equal(messages.size, 1);
  search.next();
  assert.equal(asked[1].before, 7, "the next page begins where the last one ended");
});

test("After a reset the same is asked of the other life.", async () => {
  const {asked, search} = here();
  search.reset();
  assert.equal(asked.length, 0);
  search.ask("tea");
  asked[0].resolve({messages: [message(9)], more: true});
  await settle();
  search.reset();
  assert.deepEqual([ids(search), asked.length], [[], 2]);
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

const cases = JSON.parse(readFileSync(new URL("../../../support/words.json", import.meta.url)));

for (const [text, query, expected] of cases.found) {
  test(`${JSON.stringify(query)} is marked in ${JSON.stringify(text)} as the server finds it`, () => {
    const parts = marked(text, query);
    assert.equal(short(parts), expected);
    assert.equal(parts.map((part) => part.text).join(""), text);
  });
}

test("Text that the server does not search for, or finds elsewhere only, is not marked.", () => {
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
