/** Addresses become links, whole and alone; nothing hostile does; the text stays the text. */

import assert from "node:assert/strict";
import {test} from "node:test";

import {linkify} from "../../chat/static/chat/linkify.js";
import {cpuGrowthOf, growthOf} from "./work.js";

const links = (text) => linkify(text).filter(({href}) => href).map(({text: shown}) => shown);

for (const [text, ...expected] of [
  ["plain"],
  ["see https://example.com", "https://example.com"],
  ["http://a.example and https://b.example/x", "http://a.example", "https://b.example/x"],
  ["HTTPS://EXAMPLE.COM/X", "HTTPS://EXAMPLE.COM/X"],
  // The sentence's punctuation is the sentence's.
  ["https://example.com.", "https://example.com"],
  ["https://example.com/a?b=1&c=2#d!?…", "https://example.com/a?b=1&c=2#d"],
  ["is it https://example.com?", "https://example.com"],
  ["“https://example.com/x”, he said", "https://example.com/x"],
  // Brackets belong to the address when it opened them.
  ["(https://example.com)", "https://example.com"],
  ["(see https://example.com/a_(b))", "https://example.com/a_(b)"],
  ["https://en.wikipedia.org/wiki/Rust_(game)", "https://en.wikipedia.org/wiki/Rust_(game)"],
  ["[https://example.com/].", "https://example.com/"],
  ["https://example.com/((((", "https://example.com/(((("],
  ["https://example.com/))))", "https://example.com/"],
  // Markup is text.
  ['<a href="https://example.com/x">y</a>', "https://example.com/x"],
  ["<https://example.com>", "https://example.com"],
  // Not ours to open.
  ["javascript:alert(1)"],
  ["JaVaScRiPt://%0aalert(1)"],
  ["data:text/html,<script>1</script>"],
  ["vbscript:x file:///etc/passwd ftp://example.com blob:https"],
  ["xhttps://example.com"],
  ["https://"],
  ["https:///"],
  ["https://?"],
  ["https://exa mple", "https://exa"],
  ["https://[::bad"],
  // A name before the host is there to deceive.
  ["https://bank.example@evil.example/"],
  ["https://user:secret@evil.example/"],
  // What can't be seen or turns the text ends an address.
  ["https://example.com/\u202egpj.exe", "https://example.com/"],
  ["https://exam\u200bple.com", "https://exam"],
  ["https://example.com\u200f تعال", "https://example.com"],
  ["\u2067https://example.com/a\u2069", "https://example.com/a"],
  // Texts without spaces.
  ["見て。https://例え.jp/道。次", "https://例え.jp/道"],
  ["（https://example.com）", "https://example.com"],
]) {
  test(`Links of ${JSON.stringify(text)}`, () => assert.deepEqual(links(text), expected));
}

test("An international host is shown as written and opened as what it is.", () => {
  const [{text, href}] = linkify("https://аpple.com/"); // the first letter is Cyrillic
  assert.equal(text, "https://аpple.com/");
  assert.equal(href, "https://xn--pple-43d.com/");
});

test("The parts, joined, are the text; each link is http or https with a host.", () => {
  const pieces = ["https://", "http://", "a.b", "(", ")", "@", ":", ".", " ", "\u202e", "x", "\ud800", "😀", "/", "<", "javascript:"];
  let seed = 7;
  const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
  for (let round = 0; round < 5_000; round += 1) {
    const text = Array.from({length: 1 + random(14)}, () => pieces[random(pieces.length)]).join("");
    const parts = linkify(text);
    assert.equal(parts.map((part) => part.text).join(""), text);
    for (const {href} of parts) if (href) assert.match(href, /^https?:\/\/[^/@]+/);
  }
});

test("Huge input takes work in proportion to its size.", () => {
  const hostile = [
    (n) => "http://".repeat(n),
    (n) => `https://example.com/${"(".repeat(n)}`,
    (n) => `https://example.com/${")".repeat(n)}`,
    (n) => `https://example.com/${".".repeat(n)}`,
    (n) => "https://a.b ".repeat(n / 4),
    (n) => "h".repeat(n),
  ];
  for (const make of hostile) {
    const growth = growthOf((n) => linkify(make(n)), 5_000);
    assert.ok(growth < 4.5, `${make}: ${growth}`);
    const cpu = cpuGrowthOf((n) => linkify(make(n)), 50_000);
    assert.ok(cpu < 10, `${make}: ${cpu}`);
  }
});
